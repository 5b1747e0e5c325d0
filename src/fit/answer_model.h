#pragma once
#include <array>

#include "fit/fit.h"

namespace voxpop {

/// Probabilities of answers, by level towards the left: index kMaxLevels + level.
inline constexpr int kAnswers = 2 * kMaxLevels + 1;
using Answer = std::array<double, kAnswers>;

/// Level of a vote towards the left, as an index.
std::size_t answer_of(VoteCode vote);

/// Probability that a vote goes left, where it is no tie.
float left_if_decided(const Answer& answer);

AnnotatorTerms<double> sum(const AnnotatorTerms<double>& a, const AnnotatorTerms<double>& b);

/// What a fit says of an annotator's vote on a pair that is shown as `vote` was. For as long as groups and fit are
/// there.
class AnswerModel {
 public:
  AnswerModel(const Groups& groups, const Fit& fit);
  /// By a fit that has not seen the vote. `known`: of the pair's score difference.
  Answer of(VoteCode vote, std::uint32_t pair, const Cavity<double>& known) const;
  /// By a fit that has: what the vote says of its annotator is left out. `known`: without the vote. `part`: part_of()
  /// its weight. `more`: what other votes say of the annotator that are left out with it, as terms() has it.
  Answer of_left_out(VoteCode vote, std::uint32_t pair, const Cavity<double>& known, double part,
                     const AnnotatorTerms<double>& more = {}) const;
  /// What a vote says of its annotator, were that `at`, as gradients; side bias towards the left.
  AnnotatorTerms<double> terms(VoteCode vote, std::uint32_t pair, const Cavity<double>& known, double part,
                               const AnnotatorPosterior& at) const;
  /// What the vote says, its annotator and prompt taken as known.
  Statement<double> statement(VoteCode vote, std::uint32_t pair) const;
  /// What the annotator's tastes add to its logit towards the pair's first item.
  double taste(VoteCode vote, std::uint32_t pair) const;

 private:
  FitView view_of() const;
  Rater<double> rater_of(const FitView& view, VoteCode vote, std::uint32_t pair) const;
  VoteLikelihood<double> likelihood(const Statement<double>& said, const Logit<double>& eta) const;
  Habit<double> habit_of(VoteCode vote, std::uint32_t pair) const;
  /// `habit`: the probability of a tie where no difference is seen.
  Answer of(const FitView& view, VoteCode vote, const Cavity<double>& known, const Rater<double>& rater, double habit,
            float share) const;

  const Groups& groups_;
  const Fit& fit_;
  Blend blend_;
  const Raters raters_;
};

}  // namespace voxpop
