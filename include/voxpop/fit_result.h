#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "voxpop/findings.h"
#include "voxpop/labels.h"

namespace voxpop {

/// Result of a fit: labels, and how the fit came about.
struct FitResult {
  std::string path;  ///< file that this fit was read from; empty: none
  // Ids of the rows of `labels`.
  Strings item_ids, annotator_ids, prompt_ids;
  Strings source_ids;            ///< ids of labels.sources
  Column<std::uint32_t> prompt;  ///< [items] row of prompt_ids; empty: not known
  Labels labels;
  Reliability reliability;            ///< predicted and observed shares for votes that the fit did not see
  std::vector<Finding> findings;      ///< suspicious properties of votes and fit, the worst first
  std::vector<std::string> warnings;  ///< further warnings, which are not findings
  bool converged = false;
  int iterations = 0;
  double log_evidence = 0;
  std::string device;      ///< device that ran the fit
  std::string provenance;  ///< JSON: versions, inputs, options, hyperparameters, seconds
};

}  // namespace voxpop
