#include "import/presets.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "core/error.h"
#include "core/strings.h"

namespace voxpop {
namespace {

// To add a preset: add a line here, a small file to tests/data/formats, and its expected votes to
// tests/formats_test.py.
constexpr Preset kPresets[] = {
    {"hh", "chosen and rejected conversations with the same beginning (HH-RLHF)", "chosen rejected",
     "--text-chosen chosen --text-rejected rejected --common-prompt --annotator \"\""},
    {"trl", "prompt, chosen, rejected (TRL's preference format)", "prompt chosen rejected",
     "--text-chosen chosen --text-rejected rejected --prompt prompt --prompt-text prompt"},
    {"ultrafeedback-binarized", "chosen and rejected lists of messages",
     "prompt prompt_id chosen rejected score_chosen",
     "--text-chosen chosen --text-rejected rejected --common-prompt --prompt prompt_id --annotator \"\""},
    {"ultrafeedback", "ratings of several models' completions", "instruction models completions",
     "--each completions --item model --item-text response --rating overall_score --within instruction --prompt-text "
     "instruction --source model"},
    {"nectar", "a list of answers with their ranks", "prompt answers num_responses",
     "--each answers --item answer --item-text answer --rank rank --within prompt --prompt-text prompt --source model"},
    {"oasst", "one reply per row, with its rank among the replies to a message (OpenAssistant)",
     "message_id parent_id rank",
     "--rank rank --item message_id --item-text text --group-by parent_id --prompt parent_id --annotator \"\" "
     "--timestamp \"\""},
    {"chosen-ids", "ids of the chosen and the rejected response", "chosen_id rejected_id",
     "--chosen chosen_id --rejected rejected_id --prompt \"\""},
    {"arena33k", "Chatbot Arena conversations with a judge", "question_id model_a model_b winner judge turn tstamp",
     "--left model_a --right model_b --winner winner --annotator judge --timestamp tstamp --judgement question_id "
     "--prompt \"\""},
    {"arena55k", "Chatbot Arena, one column per outcome", "model_a model_b winner_model_a winner_model_b winner_tie",
     "--left model_a --right model_b --left-won winner_model_a --right-won winner_model_b --tied winner_tie "
     "--judgement "
     "id --prompt \"\""},
    {"arena140k", "Chatbot Arena, votes in sessions", "model_a model_b winner evaluation_session_id",
     "--left model_a --right model_b --winner winner --judgement id --timestamp timestamp --prompt \"\""},
    {"mtbench", "MT-bench human judgements; models are the items", "question_id model_a model_b winner judge turn",
     "--left model_a --right model_b --winner winner --annotator judge --judgement question_id,turn --prompt \"\""},
    {"helpsteer2-all", "HelpSteer2, one vote per annotator, with its strength", "",
     "--each all_preferences_unprocessed --left response_1 --right response_2 --preference strength --scale -3..3 "
     "--positive right --within prompt --prompt-text prompt --annotator \"\""},
    {"helpsteer2", "HelpSteer2, the overall preference; negative: response_1 is better",
     "response_1 response_2 preference_strength preference_statement",
     "--left response_1 --right response_2 --preference preference_strength --scale -3..3 --positive right --within "
     "prompt --prompt-text prompt --annotator \"\""},
    {"helpsteer3-all", "HelpSteer3, one vote per annotator", "",
     "--each individual_preference --left response1 --right response2 --preference score --scale -3..3 --positive "
     "right --within context --prompt-text context --annotator \"\""},
    {"helpsteer3", "HelpSteer3, the overall preference", "response1 response2 overall_preference context",
     "--left response1 --right response2 --preference overall_preference --scale -3..3 --positive right --within "
     "context --prompt-text context --annotator \"\""},
    {"multipref", "MultiPref, the overall preference of all its annotators",
     "completion_a completion_b normal_worker_annotations expert_worker_annotations",
     "--each normal_worker_annotations --each expert_worker_annotations --left completion_a --right completion_b "
     "--source-left model_a --source-right model_b --within prompt_id --prompt-text text --annotator evaluator "
     "--timestamp timestamp --preference overall_pref "
     "--map "
     "A-is-clearly-better=2,A-is-slightly-better=1,Tie=0,B-is-slightly-better=-1,B-is-clearly-better=-2"},
    {"shp", "Stanford Human Preferences; labels 1: A is better", "human_ref_A human_ref_B labels post_id",
     "--left human_ref_A --right human_ref_B --preference labels --map 1=left,0=right --within post_id --prompt-text "
     "history --annotator \"\""},
    {"pku", "PKU-SafeRLHF, which response is better", "response_0 response_1 better_response_id",
     "--left response_0 --right response_1 --preference better_response_id --map 0=left,1=right --within prompt "
     "--prompt-text prompt --annotator \"\""},
    {"pku-safer", "PKU-SafeRLHF, which response is safer", "",
     "--left response_0 --right response_1 --preference safer_response_id --map 0=left,1=right --within prompt "
     "--prompt-text prompt --annotator \"\""},
    {"labelstudio", "Label Studio's JSON, pairwise", "data annotations",
     "--format json --each annotations --left data.text1 --right data.text2 --within data.prompt --prompt-text "
     "data.prompt --preference result[0].value.selected --annotator completed_by --timestamp created_at"},
    {"labelstudio-csv", "Label Studio's CSV, pairwise", "text1 text2 pw annotator annotation_id",
     "--left text1 --right text2 --within prompt --prompt-text prompt --preference pw --annotator annotator "
     "--timestamp "
     "created_at"},
    {"argilla", "Argilla's records", "fields responses _server_id",
     "--each responses.preference --left fields.response_a --right fields.response_b --within fields.prompt "
     "--prompt-text fields.prompt --preference value --annotator user_id"},
    {"argilla-flat", "Argilla's records from a Hugging Face data set",
     "response_a response_b preference.responses preference.responses.users",
     "--each preference.responses,preference.responses.users --left response_a --right response_b --within prompt "
     "--prompt-text prompt --preference preference.responses --annotator preference.responses.users"},
    {"prodigy", "Prodigy's choice of two options", "options accept _annotator_id",
     "--left options[0].id --right options[1].id --winner accept[0] --annotator _annotator_id --timestamp _timestamp "
     "--judgement _task_hash --prompt \"\""},
    {"mturk", "Mechanical Turk, a choice of A or B", "WorkerId Input.id_a Input.id_b Answer.choice",
     "--left Input.id_a --right Input.id_b --preference Answer.choice --map A=left,B=right --annotator WorkerId"},
    {"toloka", "Toloka, two images side by side",
     "INPUT:image_left INPUT:image_right OUTPUT:result ASSIGNMENT:worker_id",
     "--left INPUT:image_left --right INPUT:image_right --preference OUTPUT:result --annotator ASSIGNMENT:worker_id "
     "--timestamp ASSIGNMENT:submitted"},
    {"crowdkit", "crowd-kit: the label is the winner's id", "worker left right label",
     "--winner label --annotator worker"},
    {"elochoice", "EloChoice: winner, loser, rater", "winner loser rater",
     "--winner winner --loser loser --annotator rater"},
    {"evalica", "evalica: the winner is left, right or tie", "left right winner", "--winner winner"},
    {"langsmith", "LangSmith's comparisons: a score for each run", "comparative_experiment_id scores",
     "--each scores --item key --rating value --timestamp created_at --prompt \"\""},
    {"openai-evals", "OpenAI evals' choices of A or B", "run_id sample_id data event_id",
     "--left data.options[0] --right data.options[1] --preference data.choice --map A=left,B=right --prompt \"\" "
     "--timestamp created_at"},
    {"alpacaeval", "AlpacaEval: a number from 1 (the first generator is better) to 2 (the second)",
     "output_1 generator_1 output_2 generator_2 preference",
     "--left generator_1 --right generator_2 --probability preference --scale 1..2 --annotator annotator --prompt "
     "\"\""},
    {"counts", "Wins of the home and the away side (BradleyTerry2)", "home away home.wins away.wins",
     "--left home --right away --left-wins home.wins --right-wins away.wins"},
};

}  // namespace

std::vector<std::string> Preset::arguments() const {
  std::vector<std::string> words;
  std::istringstream text{std::string(options)};
  for (std::string word; text >> word;) words.push_back(word == "\"\"" ? std::string() : word);
  return words;
}

std::vector<std::string> Preset::columns() const {
  std::vector<std::string> words;
  std::istringstream text{std::string(known_by)};
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

std::span<const Preset> presets() { return kPresets; }

const Preset& find_preset(std::string_view name) {
  const auto found = std::ranges::find(kPresets, name, &Preset::name);
  if (found != std::end(kPresets)) return *found;
  std::vector<std::string_view> names;
  for (const Preset& preset : kPresets) names.push_back(preset.name);
  throw usage_error("--preset: '{}' is unknown; choose one of {}, or auto, which looks at the first rows", shown(name),
                    fmt::join(names, ", "));
}

}  // namespace voxpop
