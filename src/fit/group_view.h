#pragma once
#include "formulas/fit_view.h"
#include "group/group.h"

namespace voxpop {

/// For passes that only read: FitView has non-const pointers because some passes write.
inline float* unwritten(const Column<float>& column) { return const_cast<float*>(column.data()); }

/// A view of the groups and their covariates. The caller still has to set the EP state and the annotators.
inline FitView view_of(const Groups& groups) {
  FitView view{};
  view.component_slots = groups.component_slots.data();
  view.component_pairs = groups.component_pairs.data();
  view.pair_first = groups.pair_first.data();
  view.pair_second = groups.pair_second.data();
  view.pair_votes = groups.pair_votes.data();
  view.votes = groups.votes.data();
  view.weight = groups.weight.empty() ? nullptr : groups.weight.data();
  view.covariates = groups.covariates.value.data();
  view.covariate_count = groups.covariates.count();
  const Views& views = groups.views;
  view.views = {views.component_blocks.data(),
                views.block_slots.data(),
                views.slot.data(),
                views.block_votes.data(),
                views.vote.data(),
                views.first.data(),
                views.second.data(),
                nullptr,
                nullptr};
  return view;
}

}  // namespace voxpop
