#pragma once
#include "formulas/portable.h"

namespace voxpop {

/// SplitMix64's mixing function (Steele, Lea and Flood 2014): pseudorandom bits that depend only on `x`.
VOXPOP_HD std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

}  // namespace voxpop
