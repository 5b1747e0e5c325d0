#pragma once
// What harnesses share: where inputs lie, and what must hold of whatever is read without an error.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "fit/fit.h"
#include "label/warm_start.h"
#include "votes/votes.h"
#include "voxpop/context.h"
#include "voxpop/request.h"

namespace voxpop::fuzz {

/// Calls act(); true if it returned, false if it threw Error, which is how bad input ends. Anything else it throws is a
/// finding.
bool ends_well(const std::function<void()>& act);

/// Ends the process as a finding.
#define VOXPOP_REQUIRE(condition) ((condition) ? void() : ::voxpop::fuzz::fail(#condition, __FILE__, __LINE__))
[[noreturn]] void fail(const char* condition, const char* file, int line);

/// A file in memory that holds the latest bytes; there are a few of them. HDF5 does not take it: its name is a link.
std::string memory_file(std::string_view bytes, int which = 0);

/// A folder of this process in TMPDIR; whoever set that removes it.
const std::string& folder();

/// With a watch over HDF5.
const Context& context();

/// What read_votes() and import_votes() promise.
void check_votes(const Votes& votes);

/// The fit job; labels must be numbers, probabilities from 0 to 1.
Labels check_fit(Votes votes, const FitRequest& request, const EarlierFit* earlier = nullptr);

}  // namespace voxpop::fuzz
