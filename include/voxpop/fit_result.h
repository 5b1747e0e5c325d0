#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "voxpop/findings.h"
#include "voxpop/labels.h"

namespace voxpop {

/// What a fit says: labels, and how they came about.
struct FitResult {
  std::string path;  ///< of the file that it was read from; empty: none
  // Ids: rows of `labels`.
  Strings item_ids, annotator_ids, prompt_ids;
  Strings source_ids;            ///< as labels.sources
  Column<std::uint32_t> prompt;  ///< [items] row of prompt_ids; empty: not known
  Labels labels;
  Reliability reliability;            ///< predicted and observed shares of votes that the fit has not seen
  std::vector<Finding> findings;      ///< what the votes and the fit make suspicious, the worst first
  std::vector<std::string> warnings;  ///< beside the findings
  bool converged = false;
  int iterations = 0;
  double log_evidence = 0;
  std::string device;      ///< that it was fitted on
  std::string provenance;  ///< JSON: versions, inputs, options, hyperparameters, seconds
};

}  // namespace voxpop
