#pragma once
namespace voxpop {

/// SIGINT, SIGTERM and SIGHUP set a flag, which long loops ask for by Context::stop, so that destructors remove
/// temporary files. A second signal ends the process at once.
void install_interrupt_handler();
bool interrupted();

}  // namespace voxpop
