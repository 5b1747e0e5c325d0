#pragma once
#include <memory>

#include "import/vote_table.h"

namespace voxpop {

/// How the rows of a file say who was judged better: a class a way, each with the columns that it needs.
class Shape {
 public:
  virtual ~Shape() = default;
  virtual void add(const std::string& path, const Row& row) = 0;
  /// After the last row. Throws bad input where the values of votes are not known.
  virtual void finish(ImportReport&) {}
  virtual bool sides_known() const { return true; }
};

/// The shape that the options say. Throws a usage error where they say two.
std::unique_ptr<Shape> make_shape(const ImportOptions& options, ColumnList& columns, VoteTable& votes,
                                  BadRows& bad_rows);

}  // namespace voxpop
