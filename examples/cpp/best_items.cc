// Fits votes and prints the items with the highest scores:
//   best_items VOTES.h5 [FIT.h5]

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "voxpop/voxpop.h"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "best_items VOTES.h5 [FIT.h5]\n");
    return 2;
  }
  try {
    voxpop::Context context;
    context.note = [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); };

    const voxpop::FitResult fit = voxpop::fit(voxpop::read_votes({argv[1]}, context), {}, context);
    for (const voxpop::Finding& finding : fit.findings) std::fprintf(stderr, "%s\n", finding.text.c_str());

    const auto& score = fit.labels.items.score;
    std::vector<std::size_t> best(score.size());
    std::iota(best.begin(), best.end(), 0);
    std::stable_sort(best.begin(), best.end(), [&](std::size_t a, std::size_t b) { return score[a] > score[b]; });
    best.resize(std::min<std::size_t>(best.size(), 5));
    for (const std::size_t item : best)
      std::printf("%s %.3f +- %.3f\n", std::string(fit.item_ids[item]).c_str(), score[item],
                  fit.labels.items.std_error[item]);

    if (argc > 2) voxpop::write_fit(argv[2], fit, context);
  } catch (const voxpop::Error& error) {
    std::fprintf(stderr, "best_items: %s\n", error.what());
    return static_cast<int>(error.exit());
  }
}
