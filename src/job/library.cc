// Implements the functions of voxpop/voxpop.h with the libraries in src/.

#include <map>
#include <utility>

#include "core/error.h"
#include "core/output_file.h"
#include "core/text_output.h"
#include "core/threads.h"
#include "export/export.h"
#include "export/texts.h"
#include "files/fit_file.h"
#include "job/fit_job.h"
#include "plan/plan.h"
#include "votes/embeddings.h"
#include "votes/votes.h"
#include "voxpop/voxpop.h"

namespace voxpop {

void read_embeddings(Votes& votes, const std::string& path, const Context& context) {
  std::vector<std::string> paths;
  for (const InputFile& input : votes.inputs) paths.push_back(input.path);
  votes.embeddings = path.empty() ? read_embeddings(paths, votes.item_ids, context)
                                  : read_embedding_file(path, votes.item_ids, context);
}

void write_votes(const std::string& path, const Votes& votes, const Context& context) {
  check_votes(votes);
  OutputFile output(path);
  write_votes(output, votes, true, context);
}

FitResult fit(Votes votes, const FitRequest& request, const Context& context) {
  check_votes(votes);
  context.check_stop();
  FitJob job(request, context);
  limit_memory(context);
  return job.finish(job.run(std::move(votes)));
}

void write_fit(const std::string& path, const FitResult& fit, const Context& context) {
  OutputFile output(path);
  auto provenance = nlohmann::ordered_json::parse(fit.provenance);
  write_fit(output, fit, provenance, true, context);
}

FitResult read_fit(const std::string& path, const Context& context) {
  FitFile file = read_fit_file(path, context);
  FitResult out = std::move(static_cast<FitResult&>(file));
  out.findings = findings_from(file.json.value("findings", nlohmann::ordered_json()));
  return out;
}

std::vector<PlannedVote> plan(const FitResult& fit, std::size_t budget, double discrimination) {
  std::vector<PlannedVote> out;
  for (const WantedVote& vote : choose_pairs(fit.labels.pairs, fit.item_ids.size(), budget, discrimination))
    out.push_back({vote.pair, vote.bits});
  return out;
}

std::uint64_t export_rows(const FitResult& fit, const RowsRequest& request,
                          const std::function<void(std::string_view)>& use, const Context& context) {
  ExportOptions options;
  options.format = format_named(request.format);
  options.min_probability = request.min_probability;
  options.max_flagged = request.max_flagged;
  options.margin_scale = request.margin_scale;
  options.keep_ties = request.keep_ties;
  if (!(options.min_probability >= 0.5 && options.min_probability <= 1))
    throw usage_error("min_probability is {}; it must be from 0.5 to 1", options.min_probability);
  return with_threads(used_threads(context.threads), [&] {
    std::optional<Texts> items, prompts;
    if (!request.texts.empty()) items.emplace(request.texts, fit.item_ids, context);
    if (!request.prompt_texts.empty()) {
      if (fit.prompt.empty())
        throw usage_error("prompt_texts (--prompt-texts): the votes of this fit had no prompts; leave it out");
      prompts.emplace(request.prompt_texts, fit.prompt_ids, context);
    }
    std::vector<TextOutput> outputs;
    outputs.emplace_back(use);
    return export_rows(fit, {items ? &*items : nullptr, prompts ? &*prompts : nullptr}, options, outputs,
                       [&](std::uint64_t) { context.check_stop(); })
        .exported;
  });
}

}  // namespace voxpop
