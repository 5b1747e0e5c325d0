#pragma once
#include <hdf5.h>

#include <cstdint>
#include <string>

#include "voxpop/context.h"

namespace voxpop {

/// While an object of this class exists, HDF5 prints no errors of this thread; use hdf5_reason() to get the error. The
/// destructor restores the previous setting, because a program that uses libvoxpop may want such output for its own
/// files.
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

/// While an object of this class exists, this thread runs HDF5 functions that read a file, and `watch` (may be null)
/// watches for a crash or a timeout. Reason: HDF5's parser is not hardened, and a damaged file can crash it or keep it
/// in an endless loop. Do no other work during this time, because its time would count, too. Calls may nest.
class WatchedCall {
 public:
  /// `path` must outlive this object. `bytes`: maximum amount that HDF5 may have to read and unpack; it sets the time
  /// limit.
  WatchedCall(FileWatch* watch, const std::string& path, std::uint64_t bytes)
      : watch_(watch), path_(path), bytes_(bytes) {
    if (watch_ != nullptr) watch_->begin(path_, bytes_);
  }
  ~WatchedCall() {
    if (watch_ != nullptr) watch_->end();
  }
  WatchedCall(const WatchedCall&) = delete;
  WatchedCall& operator=(const WatchedCall&) = delete;

  /// Restarts the time limit, after HDF5 has made progress.
  void begin_again() const {
    if (watch_ == nullptr) return;
    watch_->end();
    watch_->begin(path_, bytes_);
  }

  /// While an object of this class exists, the call is not watched, because this thread does work outside HDF5. Do not
  /// use it inside a nested WatchedCall: the outer call would still be watched.
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
