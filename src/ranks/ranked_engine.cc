#include "ranks/ranked_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "core/error.h"
#include "fit/fit.h"
#include "fit/sparse.h"
#include "formulas/fixed_point.h"
#include "ranks/deal.h"

namespace voxpop {
namespace {

// Columns that ranks send to the leader, in this order.
constexpr Column<float> Posterior::*kSlotMoments[] = {&Posterior::slot_mean, &Posterior::slot_variance};
constexpr Column<float> Posterior::*kPairMoments[] = {&Posterior::pair_mean, &Posterior::pair_variance};
constexpr Column<float> PairLabels::*kPairLabels[] = {&PairLabels::probability, &PairLabels::better,
                                                      &PairLabels::information};

/// An order of the leader to all ranks.
struct Order {
  enum class Act { kRead, kOpen, kUpdate, kPosterior, kSites, kLabels, kSave, kLoad, kClose, kEnd } act;
  std::uint64_t engine = 0;  ///< number of the engine; several may be open
  PassOptions options{};
  std::size_t tastes = 0, sources = 0;
  float discrimination = 0, view_variance = 0;
  Device device{};
  std::size_t memory_limit = 0;
  int exit_code = 0;
};

template <class Column>
void send_column(Ranks& ranks, int to, const Column& column) {
  std::uint64_t count = column.size();
  ranks.send(to, &count, sizeof count);
  ranks.send(to, column.data(), count * sizeof column[0]);
}

template <class Column>
void receive_column(Ranks& ranks, int from, Column& column) {
  std::uint64_t count = 0;
  ranks.receive(from, &count, sizeof count);
  column.resize(count);
  ranks.receive(from, column.data(), count * sizeof column[0]);
}

/// Calls act(column) for each column of a rank's share of the groups.
template <class SomeGroups, class Act>
void for_columns(SomeGroups& groups, const Act& act) {
  act(groups.component_slots);
  act(groups.component_pairs);
  act(groups.slot_item);
  act(groups.pair_first);
  act(groups.pair_second);
  act(groups.pair_votes);
  act(groups.votes);
  act(groups.weight);
  act(groups.views.component_blocks);
  act(groups.views.block_slots);
  act(groups.views.slot);
  act(groups.views.block_votes);
  act(groups.views.vote);
  act(groups.views.first);
  act(groups.views.second);
  act(groups.covariates.value);
  act(groups.covariates.sd);
  act(groups.slot_source);
  act(groups.answers.strengths);
}

/// The values of a share that are not columns.
struct Shape {
  std::size_t annotators = 0, sources = 0;
  int features = 0;
  bool ties = false, half_ties = false, all_seen = true;
};

void send_groups(Ranks& ranks, int to, const Groups& groups) {
  const Shape shape{groups.annotators,   groups.sources,           groups.covariates.features,
                    groups.answers.ties, groups.answers.half_ties, groups.all_seen};
  ranks.send(to, &shape, sizeof shape);
  for_columns(groups, [&](const auto& column) { send_column(ranks, to, column); });
}

Groups receive_groups(Ranks& ranks) {
  Groups groups;
  Shape shape;
  ranks.receive(0, &shape, sizeof shape);
  for_columns(groups, [&](auto& column) { receive_column(ranks, 0, column); });
  groups.annotators = shape.annotators;
  groups.sources = shape.sources;
  groups.covariates.features = shape.features;
  groups.covariates.names.resize(groups.covariates.sd.size());
  groups.answers.ties = shape.ties;
  groups.answers.half_ties = shape.half_ties;
  groups.all_seen = shape.all_seen;
  return groups;
}

class RankReaders : public ColumnReaders {
 public:
  explicit RankReaders(Ranks& ranks) : ranks_(ranks) {}
  int count() const override { return ranks_.size() - 1; }

  void start(const std::vector<Part>& parts) override {
    ranks_.set_busy(true);
    Order order{.act = Order::Act::kRead};
    ranks_.broadcast(&order, sizeof order);
    for (int rank = 1; rank < ranks_.size(); ++rank) {
      const Part& part = parts[rank - 1];
      bytes_.push_back(part.rows.count() * part.width);
      const std::uint64_t numbers[] = {
          part.rows.begin, part.rows.end, static_cast<std::uint64_t>(part.low), static_cast<std::uint64_t>(part.high),
          part.width,      part.mark};
      ranks_.send(rank, numbers, sizeof numbers);
      send_column(ranks_, rank, part.path);
      send_column(ranks_, rank, part.dataset);
    }
  }

  std::vector<Outcome> finish(const std::vector<void*>& rows) override {
    std::vector<Outcome> outcomes;
    for (int rank = 1; rank < ranks_.size(); ++rank) {
      std::uint64_t numbers[2];
      Outcome outcome{};
      ranks_.receive(rank, numbers, sizeof numbers);
      outcome.is_read = numbers[0] != 0;
      outcome.refused_row = numbers[1];
      receive_column(ranks_, rank, outcome.refused_value);
      if (outcome.is_read) ranks_.receive(rank, rows[rank - 1], bytes_[rank - 1]);
      outcomes.push_back(outcome);
    }
    bytes_.clear();
    ranks_.set_busy(false);
    return outcomes;
  }

  /// For the other ranks: reads the part that start() asked for, and sends it.
  static void read(Ranks& ranks, const Context& context) {
    std::uint64_t numbers[6];
    ranks.receive(0, numbers, sizeof numbers);
    Part part{{},
              numbers[5],
              {},
              {numbers[0], numbers[1]},
              static_cast<std::int64_t>(numbers[2]),
              static_cast<std::int64_t>(numbers[3]),
              numbers[4]};
    receive_column(ranks, 0, part.path);
    receive_column(ranks, 0, part.dataset);
    if (part.width == 1) read_part<std::int8_t>(ranks, part, context);
    if (part.width == 4) read_part<std::uint32_t>(ranks, part, context);  // int32 columns have the same bytes
    if (part.width == 8) read_part<std::int64_t>(ranks, part, context);
  }

 private:
  template <class Integer>
  static void read_part(Ranks& ranks, const Part& part, const Context& context) {
    Outcome outcome{.is_read = true, .refused_row = part.rows.end};
    Column<Integer> column;
    std::mutex alone;
    try {
      const InputHdf5 file(part.path, context);
      const auto require_same = [&] {
        if (file.mark() != part.mark) throw file_error("{}: this rank finds a different file", part.path);
      };
      require_same();
      column = file.read_integers<Integer>(part.dataset, part.rows, part.low, part.high,
                                           [&](std::uint64_t row, const std::string& value) {
                                             const std::lock_guard lock(alone);
                                             if (row < outcome.refused_row) outcome = {true, row, value};
                                             return bad_input("{}", value);
                                           });
      require_same();  // the file may have been changed during the read
    } catch (const Error&) {
      outcome.is_read = !outcome.refused_value.empty();
    }
    column.resize(part.rows.count());
    const std::uint64_t numbers[] = {outcome.is_read, outcome.refused_row};
    ranks.send(0, numbers, sizeof numbers);
    send_column(ranks, 0, outcome.refused_value);
    if (outcome.is_read) ranks.send(0, column.data(), column.size() * sizeof(Integer));
  }

  Ranks& ranks_;
  std::vector<std::size_t> bytes_;  ///< bytes that each other rank sends
};

/// One rank's share of the components and its engine. There is no engine if the share is empty.
class Part {
 public:
  Part(Ranks& ranks, Groups groups, Device device, std::size_t memory_limit)
      : ranks_(ranks), groups_(std::move(groups)) {
    if (groups_.components() > 0)
      engine_ = make_engine(device_of_rank(device, ranks.local_rank()), groups_, {.memory_limit = memory_limit});
  }

  std::string device() const { return engine_ ? engine_->device() : "nothing"; }
  Engine* engine() { return engine_.get(); }
  const Groups& groups() const { return groups_; }

  /// Returns the sums over all ranks at the leader; at other ranks, the sums of this rank's part.
  PassResult update(const Raters& raters, const PassOptions& options) {
    PassResult pass;
    if (engine_) pass = engine_->update_components(raters, options);
    if (options.annotators) pass.annotators.resize(groups_.annotators);
    if (options.annotators) pass.tastes.resize(raters.tastes.size());
    if (options.annotators) pass.sources.resize(groups_.sources);
    if (options.grid) pass.grid.resize(groups_.annotators);
    sum(pass.annotators.data(), pass.annotators.size());
    sum(pass.tastes.data(), pass.tastes.size());
    sum(pass.sources.data(), pass.sources.size());
    sum(pass.grid.data(), pass.grid.size());
    sum(pass.thresholds.data(), pass.thresholds.size());
    sum(&pass.covariates, 1);
    sum(&pass.prompts, 1);
    sum(&pass.views, 1);
    for (std::int64_t* total : {&pass.solved.squares, &pass.solved.freedom, &pass.solved.log_evidence}) sum(total, 1);
    pass.solved.change = ranks_.largest(pass.solved.change);
    return pass;
  }

  /// Annotators and log evidence are sums over all ranks at the leader. Moments are those of this rank's part.
  Posterior posterior(const Raters& raters, const PassOptions& options) {
    Posterior out;
    if (engine_) out = engine_->posterior(raters, options);
    out.annotators.resize(groups_.annotators);
    sum(out.annotators.data(), out.annotators.size());
    std::int64_t log_evidence = to_fixed(out.log_evidence);  // exact: it was converted from fixed point
    sum(&log_evidence, 1);
    out.log_evidence = from_fixed(log_evidence);
    return out;
  }

 private:
  /// `Sums` must consist of 64-bit integers only.
  template <class Sums>
  void sum(Sums* sums, std::size_t count) {
    static_assert(sizeof(Sums) % sizeof(std::int64_t) == 0);
    ranks_.sum({reinterpret_cast<std::int64_t*>(sums), count * sizeof(Sums) / sizeof(std::int64_t)});
  }

  Ranks& ranks_;
  Groups groups_;
  std::unique_ptr<Engine> engine_;
};

/// Sends the annotators from the leader to all ranks.
void share_raters(Ranks& ranks, Raters& raters) {
  ranks.broadcast(raters.records.data(), raters.records.size() * sizeof(RaterRecord));
  ranks.broadcast(raters.habits.data(), raters.habits.size() * sizeof(TieHabit));
  ranks.broadcast(raters.tastes.data(), raters.tastes.size() * sizeof(Taste));
  ranks.broadcast(raters.source_score.data(), raters.source_score.size() * sizeof(float));
}

class RankedEngine : public Engine {
 public:
  RankedEngine(Ranks& ranks, const Device& device, const Groups& groups, std::size_t memory_limit)
      : ranks_(ranks), groups_(groups) {
    const std::uint32_t stride = sample_stride(count_votes(groups), FitOptions().sample_votes);
    shares_ = deal_components(groups, ranks.size(), stride);
    const Exchange exchange(*this, {.act = Order::Act::kOpen, .device = device, .memory_limit = memory_limit});
    for (int rank = 1; rank < ranks.size(); ++rank) send_groups(ranks, rank, take_share(groups, shares_[rank]));
    part_ = std::make_unique<Part>(ranks, take_share(groups, shares_[0]), device, memory_limit);
  }
  ~RankedEngine() override {
    if (!ranks_.busy()) const Exchange exchange(*this, {.act = Order::Act::kClose});
  }

  std::string device() const override { return fmt::format("{}, {} ranks", part_->device(), ranks_.size()); }

  PassResult update_components(const Raters& raters, const PassOptions& options) override {
    const Exchange exchange(*this, with_raters(Order::Act::kUpdate, raters, options));
    Raters shared = raters;
    share_raters(ranks_, shared);
    return part_->update(raters, options);
  }

  Posterior posterior(const Raters& raters, const PassOptions& options) override {
    const Exchange exchange(*this, with_raters(Order::Act::kPosterior, raters, options));
    Raters shared = raters;
    share_raters(ranks_, shared);
    Posterior own = part_->posterior(raters, options);
    Posterior out;
    out.annotators = std::move(own.annotators);
    out.log_evidence = own.log_evidence;
    for (const auto column : kSlotMoments)
      gather(own.*column, out.*column, &ComponentRange::slot, &ComponentRange::slot_end);
    for (const auto column : kPairMoments) gather_pairs(own.*column, out.*column);
    gather_prompts(own.prompts, out.prompts);
    if (options.view_variance > 0) {
      gather_votes(std::move(own.vote_mean), out.vote_mean);
      gather_votes(std::move(own.vote_variance), out.vote_variance);
    }
    return out;
  }

  const Sites& sites() override {
    const Exchange exchange(*this, {.act = Order::Act::kSites});
    const Sites none;
    const Sites& own = part_->engine() ? part_->engine()->sites() : none;
    gather_votes(own.precision, sites_.precision);
    gather_votes(own.shift, sites_.shift);
    return sites_;
  }

  PairLabels label_pairs(float discrimination, float view_variance) override {
    const Exchange exchange(
        *this, {.act = Order::Act::kLabels, .discrimination = discrimination, .view_variance = view_variance});
    PairLabels own, out;
    if (part_->engine()) own = part_->engine()->label_pairs(discrimination, view_variance);
    for (const auto column : kPairLabels) gather_pairs(own.*column, out.*column);
    return out;
  }

  EngineState save(FitRun& run) override {
    const Exchange exchange(*this, {.act = Order::Act::kSave});
    EngineState own, out;
    if (part_->engine()) own = part_->engine()->save(run);
    gather_votes(own.sites.precision, out.sites.precision);
    gather_votes(own.sites.shift, out.sites.shift);
    gather_pairs(own.pair_mean, out.pair_mean);
    gather_pairs(own.pair_variance, out.pair_variance);
    gather_prompts(own.prompts, out.prompts);
    gather_solutions(own.solutions, out.solutions);
    return out;
  }

  void load(const EngineState& state) override {
    const Exchange exchange(*this, {.act = Order::Act::kLoad});
    for (int rank = ranks_.size() - 1; rank >= 0; --rank) {  // the leader's own part is the last
      const Share& share = shares_[rank];
      EngineState part;
      for (const ComponentRange& run : share) {
        append(part.sites.precision, state.sites.precision, run.vote, run.vote_end);
        append(part.sites.shift, state.sites.shift, run.vote, run.vote_end);
        append(part.pair_mean, state.pair_mean, run.pair, run.pair_end);
        append(part.pair_variance, state.pair_variance, run.pair, run.pair_end);
        if (groups_.answers.own_ties()) append(part.prompts, state.prompts, run.component, run.component_end);
      }
      for_solutions([&](std::uint32_t c, std::size_t at, std::size_t count) {
        if (owns(share, c)) append(part.solutions, state.solutions, at, at + count);
      });
      if (rank > 0)
        for_state(part, [&](const auto& column) { send_column(ranks_, rank, column); });
      else if (part_->engine())
        part_->engine()->load(part);
    }
  }

  /// Calls act(column) for each column of an engine's state.
  template <class State, class Act>
  static void for_state(State& state, const Act& act) {
    act(state.sites.precision);
    act(state.sites.shift);
    act(state.pair_mean);
    act(state.pair_variance);
    act(state.prompts);
    act(state.solutions);
  }

 private:
  /// Sends an order to all ranks. They are busy with it during this object's lifetime, and stay marked as busy if an
  /// exception ends it.
  class Exchange {
   public:
    Exchange(RankedEngine& engine, Order order) : ranks_(engine.ranks_), before_(std::uncaught_exceptions()) {
      ranks_.set_busy(true);
      order.engine = engine.number_;
      ranks_.broadcast(&order, sizeof order);
    }
    ~Exchange() { ranks_.set_busy(std::uncaught_exceptions() > before_); }

   private:
    Ranks& ranks_;
    int before_;
  };

  static Order with_raters(Order::Act act, const Raters& raters, const PassOptions& options) {
    return {.act = act, .options = options, .tastes = raters.tastes.size(), .sources = raters.source_score.size()};
  }

  static bool owns(const Share& share, std::uint32_t c) {
    const auto behind = std::upper_bound(
        share.begin(), share.end(), c, [](std::uint32_t at, const ComponentRange& run) { return at < run.component; });
    return behind != share.begin() && c < std::prev(behind)->component_end;
  }

  /// Copies every rank's part of a column to its place in the whole column.
  template <class T>
  void gather(Column<T>& own, Column<T>& all, std::uint32_t ComponentRange::*begin,
              std::uint32_t ComponentRange::*end) {
    std::size_t rows = 0;
    for (const Share& share : shares_)
      for (const ComponentRange& run : share) rows += run.*end - run.*begin;
    all.resize(rows);
    for (int rank = 0; rank < ranks_.size(); ++rank) {
      if (rank > 0) receive_column(ranks_, rank, own);
      auto from = own.cbegin();
      for (const ComponentRange& run : shares_[rank]) {
        std::copy_n(from, run.*end - run.*begin, all.begin() + run.*begin);
        from += run.*end - run.*begin;
      }
    }
  }
  void gather_prompts(Column<TieHabit>& own, Column<TieHabit>& all) {
    if (groups_.answers.own_ties())
      gather(own, all, &ComponentRange::component, &ComponentRange::component_end);
    else
      for (int rank = 1; rank < ranks_.size(); ++rank) receive_column(ranks_, rank, own);
  }
  void gather_pairs(Column<float>& own, Column<float>& all) {
    gather(own, all, &ComponentRange::pair, &ComponentRange::pair_end);
  }
  void gather_votes(Column<float> own, Column<float>& all) {
    gather(own, all, &ComponentRange::vote, &ComponentRange::vote_end);
  }

  /// Calls act(component, offset of its floats in the saved solutions, number of floats) for each sparse component.
  template <class Act>
  void for_solutions(const Act& act) const {
    std::size_t at = 0;
    for (std::uint32_t c = 0; c < groups_.components(); ++c) {
      if (groups_.items_of(c) <= kDenseItems) continue;
      const std::size_t count = sparse_kept_floats(groups_.items_of(c), groups_.covariates.count() > 0);
      act(c, at, count);
      at += count;
    }
  }
  void gather_solutions(Column<float>& own, Column<float>& all) {
    for_solutions([&](std::uint32_t, std::size_t at, std::size_t count) { all.resize(at + count); });
    for (int rank = 0; rank < ranks_.size(); ++rank) {
      if (rank > 0) receive_column(ranks_, rank, own);
      auto from = own.cbegin();
      for_solutions([&](std::uint32_t c, std::size_t at, std::size_t count) {
        if (!owns(shares_[rank], c)) return;
        std::copy_n(from, count, all.begin() + at);
        from += count;
      });
    }
  }

  Ranks& ranks_;
  const std::uint64_t number_ = next_number_++;
  inline static std::uint64_t next_number_ = 0;
  const Groups& groups_;
  std::vector<Share> shares_;
  std::unique_ptr<Part> part_;
  Sites sites_;
};

}  // namespace

std::unique_ptr<Engine> make_ranked_engine(Ranks& ranks, const Device& device, const Groups& groups,
                                           std::size_t memory_limit) {
  return std::make_unique<RankedEngine>(ranks, device, groups, memory_limit);
}

std::unique_ptr<ColumnReaders> make_column_readers(Ranks& ranks) { return std::make_unique<RankReaders>(ranks); }

int serve_leader(Ranks& ranks, const Context& context) {
  std::map<std::uint64_t, std::unique_ptr<Part>> parts;  // by number of the engine
  const auto send = [&](const auto& column) { send_column(ranks, 0, column); };
  for (;;) {
    Order order{};
    ranks.broadcast(&order, sizeof order);
    std::unique_ptr<Part>& part = parts[order.engine];
    Engine* engine = part ? part->engine() : nullptr;
    Raters raters;
    if (order.act == Order::Act::kUpdate || order.act == Order::Act::kPosterior) {
      raters.records.resize(part->groups().annotators);
      raters.habits.resize(part->groups().annotators);
      raters.tastes.resize(order.tastes);
      raters.source_score.resize(order.sources);
      share_raters(ranks, raters);
    }
    switch (order.act) {
      case Order::Act::kRead:
        RankReaders::read(ranks, context);
        break;
      case Order::Act::kOpen:
        begin_memory_limit(order.device, order.memory_limit, context.scratch_beside);
        part = std::make_unique<Part>(ranks, receive_groups(ranks), order.device, order.memory_limit);
        break;
      case Order::Act::kUpdate:
        part->update(raters, order.options);
        break;
      case Order::Act::kPosterior: {
        const Posterior own = part->posterior(raters, order.options);
        for (const auto column : kSlotMoments) send(own.*column);
        for (const auto column : kPairMoments) send(own.*column);
        send(own.prompts);
        if (order.options.view_variance > 0) {
          send(own.vote_mean);
          send(own.vote_variance);
        }
        break;
      }
      case Order::Act::kSites: {
        const Sites own = engine ? engine->sites() : Sites();
        send(own.precision);
        send(own.shift);
        break;
      }
      case Order::Act::kLabels: {
        const PairLabels own = engine ? engine->label_pairs(order.discrimination, order.view_variance) : PairLabels();
        for (const auto column : kPairLabels) send(own.*column);
        break;
      }
      case Order::Act::kSave: {
        FitRun none;
        const EngineState own = engine ? engine->save(none) : EngineState();
        RankedEngine::for_state(own, send);
        break;
      }
      case Order::Act::kLoad: {
        EngineState own;
        RankedEngine::for_state(own, [&](auto& column) { receive_column(ranks, 0, column); });
        if (engine) engine->load(own);
        break;
      }
      case Order::Act::kClose:
        parts.erase(order.engine);
        break;
      case Order::Act::kEnd:
        return order.exit_code;
    }
  }
}

void end_ranks(Ranks& ranks, int exit_code) {
  Order order{.act = Order::Act::kEnd, .exit_code = exit_code};
  ranks.broadcast(&order, sizeof order);
}

}  // namespace voxpop
