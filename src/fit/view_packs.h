#pragma once
// Annotators' own views (formulas/views.h) in small components. Each lane of a pack processes one block.

#include "fit/pack.h"
#include "formulas/component.h"

namespace voxpop::VOXPOP_TARGET {
namespace {  // internal linkage: code for different instruction sets must not share functions

/// Blocks with the same number of items, one in each lane of a pack.
struct BlockPack {
  std::uint32_t count = 0;
  std::uint32_t block[kLanes], component[kLanes];  ///< `component`: index within the batch
};

/// Components that are solved together, interleaved: element e of component k is at [e * kLanes + k].
struct ComponentBatch {
  const FitView& view;
  std::uint32_t begin, count, size;  ///< components [begin, begin + count), each of at most `size` items
  float *h, *shift, *mean;           ///< [size][size], lower triangle; [size]; [size]

  float& matrix(std::uint32_t k, std::uint32_t i, std::uint32_t j) const { return h[(i * size + j) * kLanes + k]; }
};

/// Calls act(blocks, work) for all blocks of a batch, in packs. `work` contains the result of add_view_sites(). Blocks
/// are sorted by number of items, then by index. So a component's sums do not depend on the other components in the
/// batch. `scratch`: kViewScratch packs.
template <class Act>
VOXPOP_HD void for_block_packs(const ComponentBatch& batch, float* scratch, const Act& act) {
  const FitView& view = batch.view;
  static_assert(kSmallItems <= kMostViewItems && kSmallItems < 64);
  const auto items_of = [&](std::uint32_t b) { return view.views.block_slots[b + 1] - view.views.block_slots[b]; };
  const std::uint32_t first_block = view.views.component_blocks[batch.begin],
                      end_block = view.views.component_blocks[batch.begin + batch.count];
  std::uint64_t sizes = 0;  // bit n is set if some block has n items
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

/// Adds the messages of the blocks to the matrices, the shifts, and the traces [kLanes], which are input of
/// add_ridge().
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

/// Call after the matrices are inverted: sets the votes' moments. Also adds the blocks' log evidence and what they say
/// about the views' variance (null: not wanted).
void set_moments_of_views(const ComponentBatch& batch, float* scratch, std::int64_t* log_evidence, ViewTotals* totals) {
  for_block_packs(batch, scratch, [&](const BlockPack& blocks, const ViewWork<Pack>& work) {
    const FitView& view = batch.view;
    const Pack evidence = view_message(work, view.view_variance);
    auto *s = reinterpret_cast<float*>(work.s), *x = reinterpret_cast<float*>(work.x);
    for (std::uint32_t b = 0; b < static_cast<std::uint32_t>(kLanes); ++b) {
      const std::uint32_t from = b < blocks.count ? b : 0;  // unused lanes repeat block 0
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
      if (log_evidence != nullptr) add_fixed(*log_evidence, to_fixed(evidence.v[b]));
    }
  });
}

}  // namespace
}  // namespace voxpop::VOXPOP_TARGET
