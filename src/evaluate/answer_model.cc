#include "evaluate/answer_model.h"

#include <cmath>

namespace voxpop {

std::size_t answer_of(VoteCode vote) {
  return static_cast<std::size_t>(kMaxLevels + (vote.first_on_left() ? vote.level() : -vote.level()));
}

float left_if_decided(const Answer& answer) {
  double left = 0, right = 0;
  for (int level = 1; level <= kMaxLevels; ++level) {
    left += answer[kMaxLevels + level];
    right += answer[kMaxLevels - level];
  }
  return static_cast<float>(left / (left + right));
}

AnswerModel::AnswerModel(const Groups& groups, const Fit& fit)
    : groups_(groups), fit_(fit), blend_(blend_of(fit.model)), raters_(records_of(fit.annotators)) {
  if (blend_ == Blend::kClick) habits_ = find_click_habits(groups);
}

Answer AnswerModel::of(VoteCode vote, std::uint32_t pair, const Cavity<double>& known) const {
  const FitView view = view_of();
  return of(view, vote, known, rater_of(view, vote, pair), raters_[vote.annotator()].share);
}

Answer AnswerModel::of_left_out(VoteCode vote, std::uint32_t pair, const Cavity<double>& known, double part) const {
  const FitView view = view_of();
  const Rater<double> rater = rater_of(view, vote, pair), certain{rater.discrimination, rater.side_bias, 0, 0, 0};
  const AnnotatorPosterior& a = fit_.annotators[vote.annotator()];
  const Statement<float> said = statement_of(view, vote);
  const auto told = likelihood(said, logit(certain, known));
  double share = said.share;
  if (blend_ != Blend::kNone)
    share = share_of(
        share_without(a.share_logit, a.share_variance, share_terms(said.share, static_cast<float>(told.share), 0, 0)));
  return of(view, vote, known, rater_without(rater, scaled(annotator_terms(certain, known, told.z), part)),
            static_cast<float>(share));
}

FitView AnswerModel::view_of() const {
  FitView view{};
  view.pair_first = groups_.pair_first.data();
  view.pair_second = groups_.pair_second.data();
  view.covariates = groups_.covariates.value.data();
  view.covariate_count = groups_.covariates.count();
  view.tastes = fit_.tastes.data();
  view.taste_count = static_cast<int>(fit_.taste_sd.size());
  view.raters = raters_.data();
  view.blend = blend_;
  view.scale = &fit_.scale;
  view.click_habits = habits_.data();
  return view;
}

Rater<double> AnswerModel::rater_of(const FitView& view, VoteCode vote, std::uint32_t pair) const {
  const AnnotatorPosterior& a = fit_.annotators[vote.annotator()];
  const double side = vote.side();
  const TasteEffect taste = taste_effect(view, vote.annotator(), pair);
  return {a.discrimination, a.side_bias * side + taste.mean, a.discrimination_variance, a.covariance * side,
          a.side_bias_variance * side * side + taste.variance};
}

VoteLikelihood<double> AnswerModel::likelihood(const Statement<float>& said, const Logit<double>& eta) const {
  const Statement<double> exact{said.sign,  said.lower,     said.upper,   said.share,
                                said.click, said.one_sided, said.mirrored};
  return blend_ == Blend::kNone ? smoothed_vote<kExact, Likelihood::kOrdinal>(exact, eta)
                                : smoothed_vote<kExact, Likelihood::kMixture>(exact, eta);
}

Answer AnswerModel::of(const FitView& view, VoteCode vote, const Cavity<double>& known, const Rater<double>& rater,
                       float share) const {
  const Logit<double> eta = logit(rater, known);
  Answer answer{};
  const int levels = groups_.answers.levels();
  for (int level = -levels; level <= levels; ++level) {
    if (level == 0 && !groups_.answers.ties) continue;
    const VoteCode code = vote.with_level(level);
    Statement<float> said = statement_of(view, code);
    said.share = share;
    answer[answer_of(code)] = std::exp(likelihood(said, eta).z.log_value);
  }
  return answer;
}

}  // namespace voxpop
