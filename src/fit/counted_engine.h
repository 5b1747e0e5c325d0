#pragma once
#include <functional>
#include <memory>

#include "fit/engine.h"

namespace voxpop {

/// An engine for votes with many equal ones among them: another, which `make` gives, does the work on each of them
/// once, with their number as its weight (count_equal_votes()); what comes out is of all votes. With Bradley-Terry's
/// model votes of different annotators are equal, too: then 10M votes on 100 items are 9,900. Where few votes are equal
/// it is make(groups) itself.
std::unique_ptr<Engine> make_counted_engine(const Groups& groups, Model model,
                                            const std::function<std::unique_ptr<Engine>(const Groups&)>& make);

}  // namespace voxpop
