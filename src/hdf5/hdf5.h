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

/// Owns an HDF5 identifier and closes it in its destructor.
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
  /// Closes the identifier now and returns whether closing succeeded. Check the result for files: a full disk may be
  /// noticed only when the file is closed.
  bool finish() { return close_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// The innermost message of HDF5's error stack, which is the actual cause. Shortened and safe to print, see shown().
std::string hdf5_reason();

/// MPI ranks that read slices of long columns in parallel, if they see the same files.
class ColumnReaders {
 public:
  /// A slice to read as InputHdf5::read_integers() does. Each value becomes an integer of `width` bytes.
  struct Part {
    std::string path;
    std::uint64_t mark;  ///< InputHdf5::mark(); a reader whose file has another mark must not use its file
    std::string dataset;
    Rows rows;
    std::int64_t low, high;
    std::size_t width;
  };
  struct Outcome {
    bool is_read = false;         ///< false: the reader does not see the same file
    std::uint64_t refused_row;    ///< the first row out of range; only valid if refused_value is not empty
    std::string refused_value{};  ///< value of that row; empty if all values are in range
  };
  virtual ~ColumnReaders() = default;
  /// Number of readers, this process not included.
  virtual int count() const = 0;
  /// Starts reading. `parts` has one part per reader.
  virtual void start(const std::vector<Part>& parts) = 0;
  /// Waits for all readers. Copies the values of reader i to the memory at rows[i].
  virtual std::vector<Outcome> finish(const std::vector<void*>& rows) = 0;
};

/// An HDF5 file that is open for reading. Every error names the file, the dataset and, if there is one, the row and the
/// value. Columns of plain numbers are read without the HDF5 library, block by block on all cores, because the library
/// uses only one core. Data that needs a special filter or a type conversion is read with the library.
class InputHdf5 {
 public:
  /// Throws Error(kFileSystem) if the file cannot be opened, Error(kBadInput) if it is not HDF5 or is damaged.
  /// `others`: ranks that help to read long columns, or null.
  explicit InputHdf5(const std::string& path, const Context& context = {}, ColumnReaders* others = nullptr);
  ~InputHdf5();

  const std::string& path() const { return path_; }
  /// A number that identifies this file and its state. Two files have different marks, even if one is a copy of the
  /// other, and writing to a file changes its mark. All machines that share a file system see the same mark, unless the
  /// file system assigns other inode numbers on each machine.
  std::uint64_t mark() const;
  /// Whether an object of this path exists. Throws Error(kBadInput) if the path leads into another file.
  bool has(const std::string& name) const;
  /// Paths of all datasets, in the file's order. The list may be very long.
  std::vector<std::string> datasets() const;
  /// Calls use(path) for each dataset below `group` ("/": the whole file), in the file's order, until `use` returns
  /// false.
  void visit_datasets(const std::string& group, const std::function<bool(const std::string& path)>& use) const;
  /// Type, shape and filters as text, for example "int32 [1000000], gzip".
  std::string describe(const std::string& dataset) const;
  /// A string attribute of the root group, or "" if it does not exist.
  std::string attribute(const std::string& name) const;
  /// An attribute of a dataset: one UTF-8 string or a list of up to 4,096. Empty if the attribute does not exist.
  Strings attribute(const std::string& dataset, const std::string& name) const;
  /// A string attribute of a group, or "" if the group or the attribute does not exist.
  std::string group_attribute(const std::string& group, const std::string& name) const;

  /// Number of rows of a one-dimensional dataset. Throws Error(kBadInput) if it is missing or has another rank.
  std::uint64_t rows(const std::string& name) const;
  /// Returns the error for the first row whose value is out of range.
  using Refuse = std::function<Error(std::uint64_t row, const std::string& value)>;
  /// Reads the rows `some` of a column of any integer type. Each value must be from `low` to `high`; otherwise throws
  /// refuse(row, value). Integer: int8_t, int32_t, int64_t or uint32_t.
  template <class Integer>
  Column<Integer> read_integers(const std::string& name, Rows some, std::int64_t low, std::int64_t high,
                                const Refuse& refuse) const;
  /// As read_integers(), for all rows of a column whose type is an HDF5 enum. h5py stores booleans as an enum, too.
  /// read_integers() refuses enums: an index must not be one.
  Column<std::int8_t> read_enum(const std::string& name, std::int64_t low, std::int64_t high,
                                const Refuse& refuse) const;
  /// Reads a column of indices, each from 0 to limit - 1. `of`: what the indices are, for errors ("item indices").
  Column<std::uint32_t> read_indices(const std::string& name, Rows some, std::uint64_t limit,
                                     const std::string& of) const;
  Column<std::uint32_t> read_indices(const std::string& name, std::uint64_t limit, const std::string& of) const {
    return read_indices(name, {0, rows(name)}, limit, of);
  }
  /// Reads a one-dimensional column of floating-point numbers or integers.
  std::vector<double> read_floats(const std::string& name) const;
  struct MatrixShape {
    std::uint64_t rows, columns;
  };
  /// Shape of a two-dimensional dataset. Throws Error(kBadInput) unless it has from 1 to 4,096 columns.
  MatrixShape matrix_shape(const std::string& name) const;
  /// Reads a matrix, row-major. Check matrix_shape() first: the values may need much memory.
  std::vector<double> read_matrix(const std::string& name) const;
  /// Reads a floating-point matrix, row-major, and fills one of two columns: `half` if the file's type is float16 (IEEE
  /// 754 binary16), else `full`.
  void read_matrix(const std::string& name, Column<float>& full, Column<std::uint16_t>& half) const;
  /// Reads strings of fixed or variable length. Throws Error(kBadInput) if a string is not UTF-8.
  Strings read_strings(const std::string& name) const;

 private:
  /// A WatchedCall for HDF5 functions that read only headers of the file.
  WatchedCall watch_headers() const;
  Handle open(const std::string& name) const;
  int descriptor() const;
  template <class Integer>
  void read_together(const std::string& name, Rows some, std::int64_t low, std::int64_t high, const Refuse& refuse,
                     Column<Integer>& column) const;
  /// Extent in each dimension. Throws unless there are `rank` dimensions; `rank_name` is that number in words, for the
  /// error.
  std::vector<hsize_t> extent_of(const std::string& name, std::size_t rank, const char* rank_name) const;
  template <class Integer>
  void read_integers_of(H5T_class_t kind, const std::string& name, Rows some, std::int64_t low, std::int64_t high,
                        const Refuse& refuse, Integer* out) const;
  /// All numbers of a dataset of one or two dimensions. `rows`: its extent in the first dimension.
  std::vector<double> read_numbers(const std::string& name, std::uint64_t rows) const;
  /// Throws if HDF5 lacks a filter of the dataset, if the file is too small for the `total` rows that its header
  /// claims, or if chunks are missing.
  void require_readable(const std::string& name, hid_t dataset, std::uint64_t total) const;
  /// Calls use(first row, number of rows, bytes) for each block of the rows `some`, with values of type `memory_type`.
  /// With `as_stored` (`memory_type` is the file's own type), several threads may call `use` at the same time and in
  /// any order. `watched` is paused while `use` runs.
  using UseBlock = std::function<void(std::uint64_t, std::uint64_t, std::uint8_t*)>;
  void read_blocks(const WatchedCall& watched, const std::string& name, hid_t dataset, hid_t memory_type,
                   bool as_stored, Rows some, const UseBlock& use) const;
  std::string path_;
  Context context_;
  ColumnReaders* others_;
  std::uint64_t data_bytes_ = 0;  ///< size of the file without holes
  std::uint64_t file_bytes_ = 0;  ///< size of the file with holes, but at most 1,100 * data_bytes_ + 1 MiB
  Handle file_;
  Handle link_access_;  ///< property list for looking up names
};

/// An HDF5 file that is being written; finish() gives it its name. With `compress`, columns are chunked, shuffled and
/// compressed with gzip level 1, on all cores. Any function may throw Error(kFileSystem).
class OutputHdf5 {
 public:
  OutputHdf5(OutputFile& output, bool compress, const Context& context = {});
  ~OutputHdf5();
  OutputHdf5(const OutputHdf5&) = delete;
  OutputHdf5& operator=(const OutputHdf5&) = delete;

  /// Writes a string attribute of the root group.
  void write_attribute(const std::string& name, const std::string& value);
  /// Writes a list of strings as an attribute of a dataset. The dataset must exist.
  void write_attribute(const std::string& dataset, const std::string& name, const Strings& values);
  /// Writes a string attribute of a group. The group must exist, that is, contain a dataset.
  void write_group_attribute(const std::string& group, const std::string& name, const std::string& value);
  void write(const std::string& name, std::span<const float> values);
  void write(const std::string& name, std::span<const double> values);
  void write(const std::string& name, std::span<const std::int8_t> values);
  void write(const std::string& name, std::span<const std::int32_t> values);
  void write(const std::string& name, std::span<const std::uint32_t> values);
  void write(const std::string& name, std::span<const std::int64_t> values);
  /// Writes a column as an HDF5 enum of int8. names[value] is the label of a value.
  void write_enum(const std::string& name, std::span<const std::int8_t> values, const std::vector<std::string>& names);
  void write(const std::string& name, const Strings& values);
  /// Writes a matrix. `values` are row-major with `columns` numbers per row.
  void write_matrix(const std::string& name, std::span<const float> values, std::size_t columns);
  void write_matrix(const std::string& name, std::span<const double> values, std::size_t columns);
  /// Closes the HDF5 file and gives the output file its name.
  void finish();

 private:
  /// `columns` 0: a one-dimensional dataset, else a two-dimensional one.
  void write_rows(const std::string& name, hid_t type, std::size_t element_bytes, const void* data, std::uint64_t rows,
                  std::size_t columns = 0);
  /// Compresses chunks on all cores and writes them in order.
  void write_chunks(const std::string& name, hid_t dataset, const Packing& packing, std::span<const std::uint8_t> bytes,
                    std::uint64_t chunk_rows, std::size_t chunk_bytes);
  [[noreturn]] void fail(const std::string& what) const;

  OutputFile& output_;
  bool compress_;
  Context context_;
  Handle file_;
};

}  // namespace voxpop
