#pragma once
// Annotators' own views (formulas/views.h) in small components: as many blocks at once as a pack has lanes.

#include "fit/pack.h"
#include "formulas/component.h"

namespace voxpop::VOXPOP_TARGET {
namespace {  // for the kernels alone: no function may be shared by the code of two instruction sets

/// Blocks of as many items each, one in each lane of a pack.
struct BlockPack {
  std::uint32_t count = 0;
  std::uint32_t block[kLanes], component[kLanes];  ///< the component's number among those solved together
};

/// Components that are solved together, interleaved: element e of component k lies at [e * kLanes + k].
struct ComponentBatch {
  const FitView& view;
  std::uint32_t begin, count, size;  ///< components [begin, begin + count) of at most `size` items
  float *h, *shift, *mean;           ///< [size][size], lower triangle; [size]; [size]

  float& matrix(std::uint32_t k, std::uint32_t i, std::uint32_t j) const { return h[(i * size + j) * kLanes + k]; }
};

/// Calls act(blocks, work) for all blocks of a batch, in packs; work holds what add_view_sites() gave. Blocks come by
/// their number of items, and then in order: so what is added to a component does not depend on its neighbours.
/// `scratch`: kViewScratch packs.
template <class Act>
VOXPOP_HD void for_block_packs(const ComponentBatch& batch, float* scratch, const Act& act) {
  const FitView& view = batch.view;
  static_assert(kSmallItems <= kMostViewItems && kSmallItems < 64);
  const auto items_of = [&](std::uint32_t b) { return view.views.block_slots[b + 1] - view.views.block_slots[b]; };
  const std::uint32_t first_block = view.views.component_blocks[batch.begin],
                      end_block = view.views.component_blocks[batch.begin + batch.count];
  std::uint64_t sizes = 0;  // a bit for each number of items that there is
  for (std::uint32_t b = first_block; b < end_block; ++b) sizes |= std::uint64_t{1} << items_of(b);
  for (std::uint32_t items = 1; items <= kSmallItems; ++items) {
    if ((sizes >> items & 1u) == 0) continue;
    const ViewWork<Pack> work(static_cast<int>(items), reinterpret_cast<Pack*>(scratch));
    BlockPack blocks;
    const auto act_on = [&] {
      work.clear();
      for (std::uint32_t lane = 0; lane < blocks.count; ++lane)
        add_view_sites(view, view_block(view, blocks.block[lane]), reinterpret_cast<float*>(work.s) + lane,
                       reinterpret_cast<float*>(work.h) + lane, kLanes);
      act(blocks, work);
      blocks.count = 0;
    };
    std::uint32_t k = 0;
    for (std::uint32_t b = first_block; b < end_block; ++b) {
      while (view.views.component_blocks[batch.begin + k + 1] <= b) ++k;
      if (items_of(b) != items) continue;
      blocks.block[blocks.count] = b;
      blocks.component[blocks.count] = k;
      if (++blocks.count == static_cast<std::uint32_t>(kLanes)) act_on();
    }
    if (blocks.count > 0) act_on();
  }
}

/// Adds what the blocks say to the matrices and shifts, and to the traces [kLanes] that add_ridge() takes.
void add_messages_of_views(const ComponentBatch& batch, float* scratch, float* trace) {
  for_block_packs(batch, scratch, [&](const BlockPack& blocks, const ViewWork<Pack>& work) {
    view_message(work, batch.view.view_variance);
    const auto *m = reinterpret_cast<const float*>(work.m), *t = reinterpret_cast<const float*>(work.t);
    for (std::uint32_t b = 0; b < blocks.count; ++b) {
      const std::uint32_t k = blocks.component[b], slot0 = batch.view.component_slots[batch.begin + k];
      const std::uint32_t* slot = batch.view.views.slot + batch.view.views.block_slots[blocks.block[b]];  // ascending
      for (int i = 0; i < work.n; ++i) {
        batch.shift[(slot[i] - slot0) * kLanes + k] += t[i * kLanes + b];
        for (int j = 0; j <= i; ++j)
          batch.matrix(k, slot[i] - slot0, slot[j] - slot0) += m[(i * work.n + j) * kLanes + b];
        trace[k] += m[(i * work.n + i) * kLanes + b];
      }
    }
  });
}

/// With the matrices inverted: the votes' moments. What blocks add to the log evidence and what they say of the views'
/// variance are added where wanted (else null).
void set_moments_of_views(const ComponentBatch& batch, float* scratch, std::int64_t* log_evidence, ViewTotals* totals) {
  for_block_packs(batch, scratch, [&](const BlockPack& blocks, const ViewWork<Pack>& work) {
    const FitView& view = batch.view;
    const Pack evidence = view_message(work, view.view_variance);
    auto *s = reinterpret_cast<float*>(work.s), *x = reinterpret_cast<float*>(work.x);
    for (std::uint32_t b = 0; b < static_cast<std::uint32_t>(kLanes); ++b) {
      const std::uint32_t from = b < blocks.count ? b : 0;  // an empty lane is as the first
      const std::uint32_t k = blocks.component[from], slot0 = view.component_slots[batch.begin + k];
      const std::uint32_t* slot = view.views.slot + view.views.block_slots[blocks.block[from]];
      for (int i = 0; i < work.n; ++i) {
        x[i * kLanes + b] = batch.mean[(slot[i] - slot0) * kLanes + k];
        for (int j = 0; j <= i; ++j)
          s[(i * work.n + j) * kLanes + b] = batch.matrix(k, slot[i] - slot0, slot[j] - slot0);
      }
    }
    const ViewTerms<Pack> terms = view_moments(work, view.view_variance);
    for (std::uint32_t b = 0; b < blocks.count; ++b) {
      set_vote_moments(view, view_block(view, blocks.block[b]), s + b, x + b, kLanes);
      if (totals != nullptr) add_view_terms(*totals, terms.score.v[b], terms.information.v[b]);
      if (log_evidence != nullptr) *log_evidence += to_fixed(evidence.v[b]);
    }
  });
}

}  // namespace
}  // namespace voxpop::VOXPOP_TARGET
