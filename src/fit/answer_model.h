#pragma once
#include <array>

#include "fit/fit.h"

namespace voxpop {

/// Probabilities of answers. Index: kMaxLevels + level, where positive levels are towards the left item.
inline constexpr int kAnswers = 2 * kMaxLevels + 1;
using Answer = std::array<double, kAnswers>;

/// Index in Answer of a vote's level towards the left.
std::size_t answer_of(VoteCode vote);

/// Probability that a vote is for the left item, given that it is no tie.
float left_if_decided(const Answer& answer);

AnnotatorTerms<double> sum(const AnnotatorTerms<double>& a, const AnnotatorTerms<double>& b);

/// Predicts an annotator's answer to a pair that is shown in the same way as `vote`. Holds references: `groups` and
/// `fit` must outlive this object.
class AnswerModel {
 public:
  AnswerModel(const Groups& groups, const Fit& fit);
  /// Prediction by a fit that has not seen the vote. `known`: distribution of the pair's score difference.
  Answer of(VoteCode vote, std::uint32_t pair, const Cavity<double>& known) const;
  /// Prediction by a fit that has seen the vote: what the vote says about its annotator is left out. `known`:
  /// distribution of the difference without the vote. `part`: part_of() the vote's weight. `more`: sum of terms() of
  /// other votes of this annotator that are left out too.
  Answer of_left_out(VoteCode vote, std::uint32_t pair, const Cavity<double>& known, double part,
                     const AnnotatorTerms<double>& more = {}) const;
  /// Gradients and information of a vote for its annotator, evaluated at annotator parameters `at`. Side bias counts
  /// towards the left.
  AnnotatorTerms<double> terms(VoteCode vote, std::uint32_t pair, const Cavity<double>& known, double part,
                               const AnnotatorPosterior& at) const;
  /// The vote's statement, with its annotator and prompt taken as known.
  Statement<double> statement(VoteCode vote, std::uint32_t pair) const;
  /// Logits that the annotator's tastes add towards the pair's first item.
  double taste(VoteCode vote, std::uint32_t pair) const;

 private:
  FitView view_of() const;
  Rater<double> rater_of(const FitView& view, VoteCode vote, std::uint32_t pair) const;
  VoteLikelihood<double> likelihood(const Statement<double>& said, const Logit<double>& eta) const;
  Habit<double> habit_of(VoteCode vote, std::uint32_t pair) const;
  /// `habit`: probability of a tie if the annotator sees no difference.
  Answer of(const FitView& view, VoteCode vote, const Cavity<double>& known, const Rater<double>& rater, double habit,
            float share) const;

  const Groups& groups_;
  const Fit& fit_;
  Blend blend_;
  const Raters raters_;
};

}  // namespace voxpop
