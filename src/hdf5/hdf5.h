#pragma once
#include <hdf5.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/output_file.h"
#include "core/strings.h"
#include "hdf5/packing.h"
#include "hdf5/watched_call.h"
#include "voxpop/column.h"
#include "voxpop/context.h"
#include "voxpop/rows.h"

namespace voxpop {

/// An HDF5 identifier that closes itself.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  operator hid_t() const { return id_; }  // NOLINT(google-explicit-constructor)
  explicit operator bool() const { return id_ >= 0; }
  /// Closes now and says whether that worked: closing a file is where a full disk is noticed.
  bool finish() { return close_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// The innermost message of HDF5's error stack: what actually went wrong, as shown().
std::string hdf5_reason();

/// Others who read a part of each long column meanwhile: ranks that see the same files.
class ColumnReaders {
 public:
  /// What to read, as InputHdf5::read_integers() does, into numbers of `width` bytes.
  struct Part {
    std::string path;
    std::uint64_t mark;  ///< InputHdf5::mark(): a reader that sees another file, or a copy, has not read it
    std::string dataset;
    Rows rows;
    std::int64_t low, high;
    std::size_t width;
  };
  struct Outcome {
    bool is_read = false;         ///< else the reader does not see the file
    std::uint64_t refused_row;    ///< the first row that is out of bounds, where ...
    std::string refused_value{};  ///< ... this is its value
  };
  virtual ~ColumnReaders() = default;
  virtual int count() const = 0;
  /// One part for each reader.
  virtual void start(const std::vector<Part>& parts) = 0;
  /// Each reader's rows to where `rows` points.
  virtual std::vector<Outcome> finish(const std::vector<void*>& rows) = 0;
};

/// An HDF5 file to read. Every error names the file, the dataset and, where there is one, the row and the value.
/// Columns of plain numbers are read past HDF5, block by block on all cores: it would use one. What it alone can unpack
/// or convert goes through it.
class InputHdf5 {
 public:
  /// `others`: null, nobody.
  explicit InputHdf5(const std::string& path, const Context& context = {}, ColumnReaders* others = nullptr);
  ~InputHdf5();

  const std::string& path() const { return path_; }
  /// Differs between any two files, copies included, and changes when the file is written to. The same for all machines
  /// that share a file system; where such a system numbers files anew on each machine, a file is another one on each.
  std::uint64_t mark() const;
  bool has(const std::string& name) const;
  /// Paths of all datasets, in the file's order. There may be very many.
  std::vector<std::string> datasets() const;
  /// Calls use(path) for each dataset within a group, "/" for all, in the file's order, until it returns false.
  void visit_datasets(const std::string& group, const std::function<bool(const std::string& path)>& use) const;
  /// Type and shape in words: "int32 [1000000], gzip".
  std::string describe(const std::string& dataset) const;
  /// A string attribute of the root group, or "" where there is none.
  std::string attribute(const std::string& name) const;
  /// An attribute of a dataset, one string or a list of them in UTF-8; empty where there is none.
  Strings attribute(const std::string& dataset, const std::string& name) const;
  /// A string attribute of a group, or "" where there is none.
  std::string group_attribute(const std::string& group, const std::string& name) const;

  /// Rows of a one-dimensional dataset; throws where it is missing or has another rank.
  std::uint64_t rows(const std::string& name) const;
  /// Integers from `low` to `high`, of any integer type in the file. Throws what `refuse` makes of the first row whose
  /// value lies outside. Integer: int8_t, int32_t, int64_t or uint32_t.
  using Refuse = std::function<Error(std::uint64_t row, const std::string& value)>;
  template <class Integer>
  Column<Integer> read_integers(const std::string& name, Rows some, std::int64_t low, std::int64_t high,
                                const Refuse& refuse) const;
  /// The same of an HDF5 enum, as h5py stores truth values, too: an index must not be one.
  Column<std::int8_t> read_enum(const std::string& name, std::int64_t low, std::int64_t high,
                                const Refuse& refuse) const;
  /// A column of indices, each from 0 to limit - 1; `of` names what they point into ("items").
  Column<std::uint32_t> read_indices(const std::string& name, Rows some, std::uint64_t limit,
                                     const std::string& of) const;
  Column<std::uint32_t> read_indices(const std::string& name, std::uint64_t limit, const std::string& of) const {
    return read_indices(name, {0, rows(name)}, limit, of);
  }
  std::vector<double> read_floats(const std::string& name) const;
  /// Of a dataset of two dimensions; throws where it has no column, or more than 4,096.
  struct MatrixShape {
    std::uint64_t rows, columns;
  };
  MatrixShape matrix_shape(const std::string& name) const;
  /// Its numbers, row-major. Look at its shape first: reading may take much memory.
  std::vector<double> read_matrix(const std::string& name) const;
  /// The same into what fits its type: `half` (IEEE 754 binary16) where it is that, else `full`.
  void read_matrix(const std::string& name, Column<float>& full, Column<std::uint16_t>& half) const;
  /// Strings of fixed or variable length, checked to be UTF-8.
  Strings read_strings(const std::string& name) const;

 private:
  /// While it lives, HDF5 looks at headers of the file.
  WatchedCall watch_headers() const;
  Handle open(const std::string& name) const;
  int descriptor() const;
  template <class Integer>
  void read_together(const std::string& name, Rows some, std::int64_t low, std::int64_t high, const Refuse& refuse,
                     Column<Integer>& column) const;
  /// Extent in each dimension; throws unless there are `rank`, in words `rank_name`.
  std::vector<hsize_t> extent_of(const std::string& name, std::size_t rank, const char* rank_name) const;
  template <class Integer>
  void read_integers_of(H5T_class_t kind, const std::string& name, Rows some, std::int64_t low, std::int64_t high,
                        const Refuse& refuse, Integer* out) const;
  /// All numbers of a dataset, however many dimensions it has.
  std::vector<double> read_numbers(const std::string& name, std::uint64_t rows) const;
  /// Throws where HDF5 lacks a filter, or where the file cannot hold so many rows as it claims.
  void require_readable(const std::string& name, hid_t dataset, std::uint64_t total) const;
  /// Calls use(first row, rows, bytes) for block after block, each row as `memory_type`: of several threads at once, in
  /// any order, where `as_stored` (that is the file's own type) and the storage allow it. `watched` pauses meanwhile.
  using UseBlock = std::function<void(std::uint64_t, std::uint64_t, std::uint8_t*)>;
  void read_blocks(const WatchedCall& watched, const std::string& name, hid_t dataset, hid_t memory_type,
                   bool as_stored, Rows some, const UseBlock& use) const;
  std::string path_;
  Context context_;
  ColumnReaders* others_;
  std::uint64_t data_bytes_ = 0;  ///< of the file, without holes
  std::uint64_t file_bytes_ = 0;  ///< of the file, holes included as far as there may be zeros in them
  Handle file_;
  Handle link_access_;  ///< to look up names with
};

/// An HDF5 file being written under a temporary name. Columns are chunked, shuffled and gzip-1 unless told otherwise;
/// chunks are compressed on all cores.
class OutputHdf5 {
 public:
  OutputHdf5(OutputFile& output, bool compress, const Context& context = {});
  ~OutputHdf5();
  OutputHdf5(const OutputHdf5&) = delete;
  OutputHdf5& operator=(const OutputHdf5&) = delete;

  void write_attribute(const std::string& name, const std::string& value);
  /// A list of strings beside a dataset that is written already.
  void write_attribute(const std::string& dataset, const std::string& name, const Strings& values);
  /// A string beside a group that has a dataset already.
  void write_group_attribute(const std::string& group, const std::string& name, const std::string& value);
  void write(const std::string& name, std::span<const float> values);
  void write(const std::string& name, std::span<const double> values);
  void write(const std::string& name, std::span<const std::int8_t> values);
  void write(const std::string& name, std::span<const std::int32_t> values);
  void write(const std::string& name, std::span<const std::uint32_t> values);
  void write(const std::string& name, std::span<const std::int64_t> values);
  /// An HDF5 enum of int8, `names[value]` being the label.
  void write_enum(const std::string& name, std::span<const std::int8_t> values, const std::vector<std::string>& names);
  void write(const std::string& name, const Strings& values);
  /// Row-major, `columns` numbers a row.
  void write_matrix(const std::string& name, std::span<const float> values, std::size_t columns);
  void write_matrix(const std::string& name, std::span<const double> values, std::size_t columns);
  /// Closes the HDF5 file and commits the output file.
  void finish();

 private:
  /// `columns` 0: one dimension, else two.
  void write_rows(const std::string& name, hid_t type, std::size_t element_bytes, const void* data, std::uint64_t rows,
                  std::size_t columns = 0);
  /// Packs chunks on all cores, and writes them in order.
  void write_chunks(const std::string& name, hid_t dataset, const Packing& packing, std::span<const std::uint8_t> bytes,
                    std::uint64_t chunk_rows, std::size_t chunk_bytes);
  [[noreturn]] void fail(const std::string& what) const;

  OutputFile& output_;
  bool compress_;
  Context context_;
  Handle file_;
};

}  // namespace voxpop
