#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "voxpop/context.h"
#include "voxpop/request.h"

namespace voxpop {

/// Names of the choices from the first one to `last`.
template <class Choice>
std::vector<std::string> names_up_to(Choice last) {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(last); ++i) names.emplace_back(name_of(static_cast<Choice>(i)));
  return names;
}

/// Accepts the names of models. The error for a retired model says what became of it.
CLI::Validator known_model();
/// Refuses an empty name.
CLI::Validator file_name();

/// Options of every verb that runs a fit.
struct ModelOptions {
  std::string ties = "model";
  std::string repeats;  ///< empty: the default in ModelWishes
  bool no_side_bias = false;
  std::string views = "auto";
  std::string device = "auto";
  std::size_t memory_limit = 0;
  int threads = 0;
  int max_iterations = 200;
  bool no_adversaries = false;
  std::vector<std::string> ignore;

  ModelWishes wishes() const;
};
void add_model_options(CLI::App& verb, ModelOptions& options);
void add_embeddings_option(CLI::App& verb, std::string& path);
/// terminal_context() with the threads, device and memory limit of `options`.
Context context_of(const ModelOptions& options, const CommonOptions& common);

}  // namespace voxpop
