#include "hdf5/watched_call.h"

namespace voxpop {

QuietHdf5::QuietHdf5() {
  H5Eauto_is_v2(H5E_DEFAULT, &is_version2_);
  if (is_version2_ != 0) {
    H5Eget_auto2(H5E_DEFAULT, &before_.function2, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  } else {
    H5Eget_auto1(&before_.function1, &data_);
    H5Eset_auto1(nullptr, nullptr);
  }
}

QuietHdf5::~QuietHdf5() {
  if (is_version2_ != 0)
    H5Eset_auto2(H5E_DEFAULT, before_.function2, data_);
  else
    H5Eset_auto1(before_.function1, data_);
}

}  // namespace voxpop
