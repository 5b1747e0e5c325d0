#pragma once
namespace voxpop {

/// After this call SIGINT, SIGTERM and SIGHUP set a flag. Long loops check it through Context::stop, so that
/// destructors can remove temporary files. A second signal ends the process immediately.
void install_interrupt_handler();
bool interrupted();

}  // namespace voxpop
