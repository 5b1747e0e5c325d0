#pragma once
namespace voxpop {

/// SIGINT, SIGTERM and SIGHUP set a flag; long loops call check_interrupt(), which throws Error(kInterrupted), so that
/// destructors remove temporary files. A second signal ends the process at once.
void install_interrupt_handler();
void check_interrupt();
bool interrupted();

/// While one lives, check_interrupt() lets a first signal wait.
class HoldInterrupts {
 public:
  HoldInterrupts();
  ~HoldInterrupts();
};

}  // namespace voxpop
