#pragma once

namespace voxpop {

/// bt: all annotators alike (Bradley and Terry 1952). crowd-bt: a probability eta of each that it means its vote (Chen
/// et al. 2013). rater: discrimination, side bias and habit of ties of each.
enum class Model { kBradleyTerry, kCrowdBt, kRater };

}  // namespace voxpop
