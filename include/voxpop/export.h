#pragma once

/// Marks functions and classes that the shared library exports.
#define VOXPOP_EXPORT __attribute__((visibility("default")))
