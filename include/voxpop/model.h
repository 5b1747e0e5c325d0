#pragma once

namespace voxpop {

/// bt: all annotators alike (Bradley and Terry 1952). crowd-bt: each annotator means its vote with its own probability
/// eta (Chen et al. 2013). rater: each annotator has its own discrimination, side bias and tie habit.
enum class Model { kBradleyTerry, kCrowdBt, kRater };

}  // namespace voxpop
