#pragma once
#include <hdf5.h>

#include <cstdint>
#include <string>

#include "voxpop/context.h"

namespace voxpop {

/// While one lives, HDF5 prints no errors of this thread; what went wrong is in hdf5_reason(). Then they are printed,
/// or not, as before: a program that uses the library may want that for its own files.
class QuietHdf5 {
 public:
  QuietHdf5();
  ~QuietHdf5();
  QuietHdf5(const QuietHdf5&) = delete;
  QuietHdf5& operator=(const QuietHdf5&) = delete;

 private:
  union {
    H5E_auto1_t function1;
    H5E_auto2_t function2;
  } before_{};
  void* data_ = nullptr;
  unsigned is_version2_ = 1;
};

/// While one lives, this thread is within HDF5 functions that read a file, and `watch`, if there is one, watches over
/// them. HDF5's own parser is not hardened: a damaged file can crash it, or keep it busy for ever. Nothing else should
/// be done meanwhile, since the time that it takes would count. Calls may nest.
class WatchedCall {
 public:
  /// `path` must live as long. `bytes`: how much HDF5 may have to read and unpack.
  WatchedCall(FileWatch* watch, const std::string& path, std::uint64_t bytes)
      : watch_(watch), path_(path), bytes_(bytes) {
    if (watch_ != nullptr) watch_->begin(path_, bytes_);
  }
  ~WatchedCall() {
    if (watch_ != nullptr) watch_->end();
  }
  WatchedCall(const WatchedCall&) = delete;
  WatchedCall& operator=(const WatchedCall&) = delete;

  /// HDF5 got on: it may take as long again.
  void begin_again() const {
    if (watch_ == nullptr) return;
    watch_->end();
    watch_->begin(path_, bytes_);
  }

  /// While one lives, nobody watches: this thread is not within HDF5. Not within another WatchedCall, which would go
  /// on.
  class Pause {
   public:
    explicit Pause(const WatchedCall& call) : call_(call) {
      if (call_.watch_ != nullptr) call_.watch_->end();
    }
    ~Pause() {
      if (call_.watch_ != nullptr) call_.watch_->begin(call_.path_, call_.bytes_);
    }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    const WatchedCall& call_;
  };

 private:
  const QuietHdf5 quiet_;
  FileWatch* watch_;
  const std::string& path_;
  std::uint64_t bytes_;
};

}  // namespace voxpop
