#include "dataset.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace voxpop::fuzz {
namespace {

constexpr std::uint64_t kMostWritten = 1 << 14;  // elements; of longer ones the rest is never written

hid_t make_type(FuzzedDataProvider& in, Kind kind) {
  switch (kind) {
    case Kind::kInt8:
      return H5Tcopy(H5T_STD_I8LE);
    case Kind::kInt16:
      return H5Tcopy(H5T_STD_I16LE);
    case Kind::kInt32:
      return H5Tcopy(H5T_STD_I32LE);
    case Kind::kInt64:
      return H5Tcopy(H5T_STD_I64LE);
    case Kind::kUint8:
      return H5Tcopy(H5T_STD_U8LE);
    case Kind::kUint16:
      return H5Tcopy(H5T_STD_U16LE);
    case Kind::kUint32:
      return H5Tcopy(H5T_STD_U32LE);
    case Kind::kUint64:
      return H5Tcopy(H5T_STD_U64LE);
    case Kind::kInt32Be:
      return H5Tcopy(H5T_STD_I32BE);
    case Kind::kUint64Be:
      return H5Tcopy(H5T_STD_U64BE);
    case Kind::kFloat32:
      return H5Tcopy(H5T_IEEE_F32LE);
    case Kind::kFloat64:
      return H5Tcopy(H5T_IEEE_F64LE);
    case Kind::kFloat64Be:
      return H5Tcopy(H5T_IEEE_F64BE);
    case Kind::kFixedText: {
      const hid_t type = H5Tcopy(H5T_C_S1);
      H5Tset_size(type, odd(in) ? in.PickValueInArray<std::size_t>({1, 3, 200, 70000, 1u << 31}) : 8);
      H5Tset_strpad(type, odd(in) ? H5T_STR_SPACEPAD : H5T_STR_NULLPAD);
      H5Tset_cset(type, odd(in) ? H5T_CSET_ASCII : H5T_CSET_UTF8);
      return type;
    }
    case Kind::kText: {
      const hid_t type = H5Tcopy(H5T_C_S1);
      H5Tset_size(type, H5T_VARIABLE);
      H5Tset_cset(type, odd(in) ? H5T_CSET_ASCII : H5T_CSET_UTF8);
      return type;
    }
    case Kind::kEnum: {
      const hid_t type = H5Tenum_create(odd(in) ? H5T_STD_I64BE : H5T_STD_I8LE);
      std::array<char, 8> zero{};
      H5Tenum_insert(type, "ok", zero.data());
      return type;
    }
    case Kind::kCompound: {
      const hid_t type = H5Tcreate(H5T_COMPOUND, 8);
      H5Tinsert(type, "a", 0, H5T_STD_I32LE);
      return type;
    }
    case Kind::kOpaque:
      return H5Tcreate(H5T_OPAQUE, 4);
    case Kind::kFiveBits: {
      const hid_t type = H5Tcopy(H5T_STD_I32LE);
      H5Tset_precision(type, 5);
      H5Tset_offset(type, 3);
      return type;
    }
    case Kind::kBitfield:
      return H5Tcopy(H5T_STD_B32LE);
    case Kind::kReference:
      return H5Tcopy(H5T_STD_REF_OBJ);
    case Kind::kArray: {
      const hsize_t extent = 3;
      return H5Tarray_create2(H5T_STD_I32LE, 1, &extent);
    }
    case Kind::kList:
      return H5Tvlen_create(H5T_STD_I32LE);
    case Kind::kFloat16: {
      const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
      H5Tset_fields(type, 15, 10, 5, 0, 10);
      H5Tset_ebias(type, 15);
      H5Tset_size(type, 2);
      return type;
    }
  }
  return -1;
}

std::string make_text(FuzzedDataProvider& in, std::uint64_t value) {
  return odd(in) ? in.ConsumeRandomLengthString(300) : "i" + std::to_string(value);
}

double make_number(FuzzedDataProvider& in, double value) {
  if (!odd(in)) return value;
  constexpr std::array extremes = {-1.0,
                                   0.5,
                                   127.0,
                                   128.0,
                                   -9.0,
                                   10.0,
                                   2147483647.0,
                                   4294967294.0,
                                   4294967295.0,
                                   1e10,
                                   -9.3e18,
                                   1.8e19,
                                   1e-40,
                                   3.4e38,
                                   -3.5e38,
                                   1e300,
                                   std::numeric_limits<double>::infinity(),
                                   std::numeric_limits<double>::quiet_NaN()};
  return odd(in) ? in.ConsumeFloatingPoint<double>() : in.PickValueInArray(extremes);
}

/// Values to a dataset or an attribute, by `write`.
template <class Write>
void write_values(FuzzedDataProvider& in, hid_t type, std::uint64_t count,
                  const std::function<std::string(std::uint64_t)>& text,
                  const std::function<double(std::uint64_t)>& number, const Write& write) {
  const H5T_class_t type_class = H5Tget_class(type);
  if (type_class == H5T_STRING && H5Tis_variable_str(type) > 0) {
    std::vector<std::string> texts;
    for (std::uint64_t i = 0; i < count; ++i) texts.push_back(text(i));
    std::vector<const char*> pointers;
    for (const std::string& one : texts) pointers.push_back(odd(in) ? nullptr : one.c_str());
    write(type, pointers.data());
  } else if (type_class == H5T_STRING) {
    const std::size_t width = H5Tget_size(type);
    if (width * count > (1 << 22)) return;
    std::string fields(width * count, H5Tget_strpad(type) == H5T_STR_SPACEPAD ? ' ' : '\0');
    for (std::uint64_t i = 0; i < count; ++i) text(i).copy(fields.data() + i * width, width);
    write(type, fields.data());
  } else if (type_class == H5T_INTEGER) {
    std::vector<std::int64_t> numbers;
    for (std::uint64_t i = 0; i < count; ++i) {
      const double x = number(i);
      numbers.push_back(x > -9.2e18 && x < 9.2e18 ? static_cast<std::int64_t>(x)
                        : x > 0                   ? std::numeric_limits<std::int64_t>::max()
                                                  : std::numeric_limits<std::int64_t>::min());
    }
    write(H5T_NATIVE_INT64, numbers.data());
  } else if (type_class == H5T_FLOAT) {
    std::vector<double> numbers;
    for (std::uint64_t i = 0; i < count; ++i) numbers.push_back(number(i));
    write(H5T_NATIVE_DOUBLE, numbers.data());
  } else if (type_class != H5T_VLEN && type_class != H5T_REFERENCE) {
    std::vector<std::uint8_t> bytes(count * H5Tget_size(type));
    for (std::uint64_t i = 0; i < count; ++i) bytes[i * H5Tget_size(type)] = static_cast<std::uint8_t>(i % 3);
    write(type, bytes.data());
  }
}

hid_t make_links() {
  const hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  return links;
}

/// The layout: contiguous, compact or chunked, with filters. Null: the data are in another file.
bool set_layout(FuzzedDataProvider& in, hid_t creation, hid_t type, hid_t space, std::vector<hsize_t> extent,
                bool is_short) {
  if (odd(in)) {
    switch (in.ConsumeIntegralInRange(0, 3)) {
      case 0:
        H5Pset_layout(creation, H5D_COMPACT);
        return true;
      case 1:
        H5Pset_external(creation, "/dev/zero", 0, H5F_UNLIMITED);
        return false;
      case 2:
        H5Pset_virtual(creation, space, "/dev/zero", "items/id", space);
        return false;
      default:
        if (is_short) H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
        return true;
    }
  }
  if (in.ConsumeBool() || extent.empty()) return true;
  for (hsize_t& chunk : extent)
    chunk = odd(in) ? in.PickValueInArray<hsize_t>({1, 2, 1000, 1 << 20}) : std::clamp<hsize_t>(chunk, 1, 1 << 12);
  H5Pset_chunk(creation, static_cast<int>(extent.size()), extent.data());
  // These two crash the library's writer beside other filters and on other types.
  if (H5Tget_class(type) == H5T_INTEGER && odd(in)) {
    in.ConsumeBool() ? H5Pset_nbit(creation) : H5Pset_scaleoffset(creation, H5Z_SO_INT, H5Z_SO_INT_MINBITS_DEFAULT);
    return true;
  }
  for (int filters = in.ConsumeIntegralInRange(0, 3); filters > 0; --filters) {
    const unsigned value = in.ConsumeIntegral<std::uint8_t>();
    switch (in.ConsumeIntegralInRange(0, 6)) {
      case 0:
        H5Pset_shuffle(creation);
        break;
      case 1:
        H5Pset_fletcher32(creation);
        break;
      case 2:
        H5Pset_filter(creation, 307, H5Z_FLAG_OPTIONAL, 1, &value);
        break;  // bzip2, which is not there
      default:
        H5Pset_deflate(creation, value % 10);
    }
  }
  return true;
}

}  // namespace

bool write_dataset(FuzzedDataProvider& in, hid_t file, const Shape& shape) {
  const hid_t links = make_links();
  bool own = true;
  if (odd(in)) {  // a link of some kind, or nothing
    switch (in.ConsumeIntegralInRange(0, 4)) {
      case 0:
        H5Lcreate_external("/dev/zero", "/items/id", file, shape.name.c_str(), links, H5P_DEFAULT);
        own = false;
        break;
      case 1:
        H5Lcreate_soft(shape.name.c_str(), file, shape.name.c_str(), links, H5P_DEFAULT);
        break;
      case 2:
        H5Lcreate_soft("/items/id", file, shape.name.c_str(), links, H5P_DEFAULT);
        break;
      case 3:
        H5Gclose(H5Gcreate2(file, shape.name.c_str(), links, H5P_DEFAULT, H5P_DEFAULT));
        break;
      default:
        break;
    }
    H5Pclose(links);
    return own;
  }
  const Kind kind = odd(in) ? in.ConsumeEnum<Kind>() : shape.kind;
  std::vector<hsize_t> extent = {shape.rows};
  if (shape.columns > 0) extent.push_back(shape.columns);
  if (odd(in)) {
    extent.resize(in.ConsumeIntegralInRange<std::size_t>(0, 3), 1);
    for (hsize_t& rows : extent)
      rows = in.PickValueInArray<hsize_t>({0, 1, shape.rows + 1, 5000, 1 << 20, hsize_t{1} << 31, hsize_t{1} << 45});
  }
  const hid_t type = make_type(in, kind);
  const hid_t space = extent.empty() ? H5Screate(odd(in) ? H5S_NULL : H5S_SCALAR)
                                     : H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr);
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  double count = 1;
  for (const hsize_t rows : extent) count *= static_cast<double>(rows);
  own = set_layout(in, creation, type, space, extent, count <= kMostWritten);
  const hid_t dataset = H5Dcreate2(file, shape.name.c_str(), type, space, links, creation, H5P_DEFAULT);
  if (dataset >= 0 && own && count > 0 && count <= kMostWritten && !odd(in))
    write_values(
        in, type, static_cast<std::uint64_t>(count),
        [&](std::uint64_t i) { return make_text(in, static_cast<std::uint64_t>(std::max(shape.value(i), 0.0))); },
        [&](std::uint64_t i) { return make_number(in, shape.value(i)); },
        [&](hid_t memory_type, const void* values) {
          H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
        });
  if (dataset >= 0) H5Dclose(dataset);
  H5Pclose(creation);
  H5Sclose(space);
  H5Tclose(type);
  H5Pclose(links);
  return own;
}

void write_attribute(FuzzedDataProvider& in, hid_t object, const char* name, const std::vector<std::string>& values,
                     bool scalar) {
  if (odd(in)) return;
  const hid_t type = make_type(in, odd(in)            ? in.ConsumeEnum<Kind>()
                                   : in.ConsumeBool() ? Kind::kFixedText
                                                      : Kind::kText);
  if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0) {  // as long as the text
    std::size_t width = 1;
    for (const std::string& value : values) width = std::max(width, value.size());
    H5Tset_size(type, width);
  }
  const hsize_t extent = odd(in) ? in.PickValueInArray<hsize_t>({0, 1, 5000}) : values.size();
  if (odd(in)) scalar = !scalar;
  const hid_t space = scalar ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &extent, nullptr);
  const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  if (attribute >= 0) {
    write_values(
        in, type, scalar ? 1 : extent,
        [&](std::uint64_t i) {
          return odd(in) ? in.ConsumeRandomLengthString(99) : i < values.size() ? values[i] : "";
        },
        [](std::uint64_t i) { return static_cast<double>(i); },
        [&](hid_t memory_type, const void* data) { H5Awrite(attribute, memory_type, data); });
    H5Aclose(attribute);
  }
  H5Sclose(space);
  H5Tclose(type);
}

}  // namespace voxpop::fuzz
