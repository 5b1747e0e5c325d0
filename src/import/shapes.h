#pragma once
#include <memory>

#include "import/vote_table.h"

namespace voxpop {

/// Turns the rows of a file into votes. There is one derived class for each way in which a row can show which item was
/// judged better. Its constructor requests the columns that it needs.
class Shape {
 public:
  virtual ~Shape() = default;
  /// Adds the votes of a row. Throws Error(kBadInput) if the row cannot be used.
  virtual void add(const std::string& path, const Row& row) = 0;
  /// Call after the last row. Throws Error(kBadInput) if values of votes have no known meaning.
  virtual void finish(ImportReport&) {}
  /// False if the file does not show which item was on the left.
  virtual bool sides_known() const { return true; }
};

/// Makes the shape that the options describe. Throws Error(kUsage) if they describe more than one.
std::unique_ptr<Shape> make_shape(const ImportOptions& options, ColumnList& columns, VoteTable& votes,
                                  BadRows& bad_rows);

}  // namespace voxpop
