#include "fit/answer_model.h"

#include <algorithm>
#include <cmath>

namespace voxpop {
namespace {

/// Converts terms from side bias towards the left to side bias towards the pair's first item, or back.
AnnotatorTerms<double> turned(AnnotatorTerms<double> terms, double side) {
  terms.gradient_beta *= side;
  terms.information_cross *= side;
  terms.information_beta *= side * side;
  return terms;
}

}  // namespace

AnnotatorTerms<double> sum(const AnnotatorTerms<double>& a, const AnnotatorTerms<double>& b) {
  return {a.gradient_gamma + b.gradient_gamma, a.gradient_beta + b.gradient_beta,
          a.information_gamma + b.information_gamma, a.information_cross + b.information_cross,
          a.information_beta + b.information_beta};
}

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
    : groups_(groups), fit_(fit), blend_(blend_of(fit.model)), raters_(fit.annotators) {}

Answer AnswerModel::of(VoteCode vote, std::uint32_t pair, const Cavity<double>& known) const {
  const FitView view = view_of();
  const Habit<double> habit = habit_of(vote, pair);
  return of(view, vote, known, rater_of(view, vote, pair),
            mean_logistic(habit.mean, habit.annotator_variance + habit.prompt_variance),
            raters_.records[vote.annotator()].share);
}

AnnotatorTerms<double> AnswerModel::terms(VoteCode vote, std::uint32_t pair, const Cavity<double>& known, double part,
                                          const AnnotatorPosterior& at) const {
  const FitView view = view_of();
  const double side = vote.side();
  const Rater<double> certain{at.discrimination, at.side_bias * side + taste_effect(view, vote.annotator(), pair).mean,
                              0, 0, 0};
  const auto told = likelihood(statement(vote, pair), logit(certain, known));
  return turned(scaled(annotator_terms(certain, known, told.z), part), side);
}

Answer AnswerModel::of_left_out(VoteCode vote, std::uint32_t pair, const Cavity<double>& known, double part,
                                const AnnotatorTerms<double>& more) const {
  const FitView view = view_of();
  const Rater<double> rater = rater_of(view, vote, pair), certain{rater.discrimination, rater.side_bias, 0, 0, 0};
  const AnnotatorPosterior& a = fit_.annotators[vote.annotator()];
  const Statement<double> said = statement(vote, pair);
  const auto told = likelihood(said, logit(certain, known));
  double share = said.share;
  if (blend_ != Blend::kNone)
    share = share_of(share_without(a.share_logit, a.share_variance,
                                   share_terms(static_cast<float>(said.share), static_cast<float>(told.share))));
  return of(view, vote, known,
            rater_without(rater, sum(scaled(annotator_terms(certain, known, told.z), part), turned(more, vote.side()))),
            habit_without(habit_of(vote, pair), scaled(habit_terms(said.habit, told.habit), part)),
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
  view.raters = raters_.records.data();
  view.blend = blend_;
  view.scale = &fit_.scale;
  return view;
}

Rater<double> AnswerModel::rater_of(const FitView& view, VoteCode vote, std::uint32_t pair) const {
  const AnnotatorPosterior& a = fit_.annotators[vote.annotator()];
  const double side = vote.side();
  const TasteEffect taste = taste_effect(view, vote.annotator(), pair);
  return {a.discrimination, a.side_bias * side + taste.mean, a.discrimination_variance, a.covariance * side,
          a.side_bias_variance * side * side + taste.variance};
}

Habit<double> AnswerModel::habit_of(VoteCode vote, std::uint32_t pair) const {
  if (!fit_.scale.own_ties) return {0, 0, 0};
  const auto behind = std::ranges::upper_bound(groups_.component_pairs, pair);
  const TieHabit own = raters_.habits[vote.annotator()];
  const TieHabit prompt = fit_.posterior.prompts[behind - groups_.component_pairs.begin() - 1];
  return {own.mean + prompt.mean, own.variance, prompt.variance};
}

Statement<double> AnswerModel::statement(VoteCode vote, std::uint32_t pair) const {
  const Statement<float> said = statement_of(view_of(), vote);
  return {said.sign,   said.lower,    said.upper,   said.share, logistic(habit_of(vote, pair).mean),
          said.simple, said.own_ties, said.mirrored};
}

double AnswerModel::taste(VoteCode vote, std::uint32_t pair) const {
  return taste_effect(view_of(), vote.annotator(), pair).mean;
}

VoteLikelihood<double> AnswerModel::likelihood(const Statement<double>& said, const Logit<double>& eta) const {
  return blend_ == Blend::kNone ? smoothed_vote<kExact, Likelihood::kOrdinal>(said, eta)
                                : smoothed_vote<kExact, Likelihood::kMixture>(said, eta);
}

Answer AnswerModel::of(const FitView& view, VoteCode vote, const Cavity<double>& known, const Rater<double>& rater,
                       double habit, float share) const {
  const Logit<double> eta = logit(rater, known);
  Answer answer{};
  const int levels = groups_.answers.levels();
  for (int level = -levels; level <= levels; ++level) {
    if (level == 0 && !groups_.answers.ties) continue;
    const VoteCode code = vote.with_level(level);
    const Statement<float> said = statement_of(view, code);
    const Statement<double> exact{said.sign, said.lower,  said.upper,    share,
                                  habit,     said.simple, said.own_ties, said.mirrored};
    answer[answer_of(code)] = std::exp(likelihood(exact, eta).z.log_value);
  }
  return answer;
}

}  // namespace voxpop
