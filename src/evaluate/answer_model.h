#pragma once
#include <array>

#include "fit/fit.h"

namespace voxpop {

/// Probabilities of answers, by level towards the left: index kMaxLevels + level.
using Answer = std::array<double, kHabitLevels>;

/// Level of a vote towards the left, as an index.
std::size_t answer_of(VoteCode vote);

/// Probability that a vote goes left, where it is no tie.
float left_if_decided(const Answer& answer);

/// What a fit says of an annotator's vote on a pair that is shown as `vote` was. For as long as groups and fit are
/// there.
class AnswerModel {
 public:
  AnswerModel(const Groups& groups, const Fit& fit);
  /// By a fit that has not seen the vote. `known`: of the pair's score difference.
  Answer of(VoteCode vote, std::uint32_t pair, const Cavity<double>& known) const;
  /// By a fit that has: what the vote says of its annotator is left out. `known`: without the vote. `part`: part_of()
  /// its weight.
  Answer of_left_out(VoteCode vote, std::uint32_t pair, const Cavity<double>& known, double part) const;

 private:
  FitView view_of() const;
  Rater<double> rater_of(const FitView& view, VoteCode vote, std::uint32_t pair) const;
  VoteLikelihood<double> likelihood(const Statement<float>& said, const Logit<double>& eta) const;
  Answer of(const FitView& view, VoteCode vote, const Cavity<double>& known, const Rater<double>& rater,
            float share) const;

  const Groups& groups_;
  const Fit& fit_;
  Blend blend_;
  std::vector<RaterRecord> raters_;
  std::vector<float> habits_;
};

}  // namespace voxpop
