#pragma once

/// Marks what the shared library shows to programs that link with it.
#define VOXPOP_EXPORT __attribute__((visibility("default")))
