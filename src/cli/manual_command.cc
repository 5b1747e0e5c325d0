#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <string_view>

#include "cli/commands.h"
#include "voxpop/version.h"

// Man page and shell completions, generated from the same tree of verbs and options that --help shows.

namespace voxpop {
namespace {

std::vector<const CLI::App*> listed_verbs(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* verb) { return !verb->get_group().empty(); });
}

std::vector<const CLI::Option*> positionals(const CLI::App& verb) {
  return verb.get_options([](const CLI::Option* o) { return !o->get_group().empty() && o->get_positional(); });
}

std::vector<const CLI::Option*> named_options(const CLI::App& verb) {
  return verb.get_options([](const CLI::Option* o) { return !o->get_group().empty() && o->nonpositional(); });
}

bool takes_value(const CLI::Option& option) { return option.get_type_size() != 0; }

bool takes_many(const CLI::Option& option) { return option.get_expected_max() > 1; }

/// The kind of an option's value. CLI11 shows "TEXT:{a,b}" or "INT:INT in [0 - 9]". Returns the part after the colon,
/// which is enough.
std::string kind_of_value(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.substr(type.find(':') + 1);
}

/// The values that CLI::IsMember allows; empty if the option takes other values.
std::vector<std::string> choices(const CLI::Option& option) {
  const std::string kind = kind_of_value(option);
  if (!kind.starts_with('{') || !kind.ends_with('}')) return {};
  return CLI::detail::split(kind.substr(1, kind.size() - 2), ',');
}

// ---------------------------------------------------------------------------------------------------------- man page

/// Escapes text so that roff prints it unchanged.
std::string roff(std::string_view text) {
  static const std::map<char, std::string> kSpecial = {{'\\', "\\e"},  {'-', "\\-"},   {'\'', "\\(aq"}, {'"', "\\(dq"},
                                                       {'`', "\\(ga"}, {'^', "\\(ha"}, {'~', "\\(ti"}};
  std::string out = text.starts_with('.') ? "\\&" : "";  // a leading dot would start a roff request
  for (const char c : text) {
    const auto special = kSpecial.find(c);
    out += special == kSpecial.end() ? std::string(1, c) : special->second;
  }
  return out;
}

/// Wraps text at 80 characters.
std::string filled(const std::string& text) {
  std::string out, line;
  for (const std::string& word : CLI::detail::split(text, ' ')) {
    if (!line.empty() && line.size() + roff(word).size() >= 80) {
      out += line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + roff(word);
  }
  return out + line;
}

std::string bold(std::string_view text) { return "\\fB" + roff(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + roff(text) + "\\fR"; }

std::string sentence(const std::string& text) { return text.empty() || text.ends_with('.') ? text : text + "."; }

std::string names(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back(bold("-" + name));
  for (const std::string& name : option.get_lnames()) names.push_back(bold("--" + name));
  if (names.empty()) names.push_back(italic(option.get_name(true)));
  return fmt::format("{}", fmt::join(names, ", "));
}

void print_option(const CLI::Option& option) {
  std::string head = names(option);
  std::string text = sentence(option.get_description());
  if (takes_value(option)) {
    if (!option.get_positional()) head += " " + italic(kind_of_value(option));
    if (takes_many(option)) head += " ...";
    if (!option.get_default_str().empty()) text += " Default: " + sentence(option.get_default_str());
    if (option.get_required()) text += " Required.";
  }
  for (const CLI::Option* other : option.get_needs()) text += " Needs " + sentence(other->get_name());
  for (const CLI::Option* other : option.get_excludes()) text += " Not with " + sentence(other->get_name());
  fmt::print(".TP\n{}\n{}\n", head, filled(text));
}

void print_section(std::string title) {
  std::ranges::transform(title, title.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  fmt::print(".SH {}\n", roff(title));
}

/// Prints the paragraphs of a footer. Lines that begin with blanks are commands and are printed unchanged.
void print_text(const std::string& text) {
  bool as_is = false, first = true;
  for (const std::string& line : CLI::detail::split(text, '\n')) {
    if (as_is && !line.starts_with(' ')) fmt::print(".EE\n");
    if (!as_is && line.starts_with(' ')) fmt::print("{}.EX\n", first ? "" : ".PP\n");
    as_is = line.starts_with(' ');
    fmt::print("{}\n", line.empty() ? ".PP" : as_is ? roff(line) : filled(line));
    first = false;
  }
  if (as_is) fmt::print(".EE\n");
}

std::string usage(const CLI::App& verb) {
  std::string usage = bold("voxpop " + verb.get_name()) + " [" + italic("options") + "]";
  for (const CLI::Option* option : positionals(verb)) {
    const std::string name = italic(option->get_name(true)) + (takes_many(*option) ? " ..." : "");
    usage += option->get_required() ? " " + name : " [" + name + "]";
  }
  return usage;
}

int print_manual(const CLI::App& app) {
  std::string purpose = app.get_description();
  if (purpose.starts_with("voxpop ")) purpose.erase(0, 7);
  if (purpose.ends_with('.')) purpose.pop_back();
  fmt::print(".TH VOXPOP 1 \"\" \"voxpop {}\" \"User Commands\"\n.ad l\n.nh\n", kVersion);
  fmt::print(".SH NAME\n{}\n", filled("voxpop - " + purpose));
  print_section("Synopsis");
  std::vector<std::string> usages;
  for (const CLI::App* verb : listed_verbs(app)) usages.push_back(usage(*verb));
  fmt::print("{}\n", fmt::join(usages, "\n.br\n"));
  print_section("Description");
  fmt::print("{}\n", filled(app.get_description()));
  for (const CLI::App* verb : listed_verbs(app))
    fmt::print(".TP\n{}\n{}\n", bold(verb->get_name()), filled(sentence(verb->get_description())));
  print_section("Options");
  for (const CLI::Option* option : named_options(app)) print_option(*option);
  for (const CLI::App* verb : listed_verbs(app)) {
    print_section("voxpop " + verb->get_name());
    fmt::print("{}\n.PP\n{}\n", usage(*verb), filled(sentence(verb->get_description())));
    for (const CLI::Option* option : positionals(*verb)) print_option(*option);
    for (const CLI::Option* option : named_options(*verb)) print_option(*option);
    if (!verb->get_footer().empty()) print_text("\n" + verb->get_footer());
  }
  // Each paragraph of the program's footer begins with a title and a colon.
  const std::string footer = app.get_footer();
  for (std::size_t begin = 0; begin < footer.size();) {
    const std::size_t end = std::min(footer.find("\n\n", begin), footer.size());
    const std::string paragraph = footer.substr(begin, end - begin);
    const std::size_t colon = paragraph.find(':');
    print_section(paragraph.substr(0, colon));
    print_text(paragraph.substr(colon + 2));
    begin = end + 2;
  }
  return 0;
}

// -------------------------------------------------------------------------------------------------------- completion

// The scripts ask the program for candidates, so the candidates always match the installed version.
constexpr const char* kBash = R"(# bash completion for voxpop
_voxpop() {
  mapfile -t COMPREPLY < <(voxpop candidates -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1)
}
complete -o default -F _voxpop voxpop
)";

constexpr const char* kZsh = R"(#compdef voxpop
_voxpop() {
  local -a found
  found=("${(@f)$(voxpop candidates -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n $found ]]; then
    found=("${(@)found/$'\t'/:}")
    _describe voxpop found
  else
    _files
  fi
}
if [[ $funcstack[1] == _voxpop ]]; then
  _voxpop "$@"
else
  compdef _voxpop voxpop
fi
)";

constexpr const char* kFish = R"(# fish completion for voxpop
function __voxpop_candidates
    set -l found (voxpop candidates -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c voxpop -f -a '(__voxpop_candidates)'
)";

const std::map<std::string, const char*> kCompletions = {{"bash", kBash}, {"zsh", kZsh}, {"fish", kFish}};

/// Prints candidates for the last of `words`, one per line, followed by a tab and the meaning. Prints nothing if that
/// word is a file or a number. `words`: the words after the program's name.
int print_candidates(const CLI::App& app, std::vector<std::string> words) {
  if (words.empty()) words.emplace_back();
  if (words.back() == "=") words.back().clear();
  std::erase(words, "=");  // bash splits --model=bt into three words
  const std::string& last = words.back();
  const auto offer = [&last](const std::string& candidate, const std::string& meaning) {
    if (candidate.starts_with(last)) fmt::print("{}{}{}\n", candidate, meaning.empty() ? "" : "\t", meaning);
  };
  const CLI::App* verb = &app;
  for (const CLI::App* listed : listed_verbs(app)) {
    if (words.size() == 1)
      offer(listed->get_name(), listed->get_description());
    else if (words.front() == listed->get_name())
      verb = listed;
  }
  std::string option_name = words.size() > 1 ? words[words.size() - 2] : "";
  std::string before;  // part of the last word that stays: "--models=bt," of "--models=bt,ra"
  if (last.starts_with("--") && last.find('=') != std::string::npos) {
    before = last.substr(0, last.find('=') + 1);
    option_name = last.substr(0, last.find('='));
  }
  const CLI::Option* option = option_name.starts_with('-') ? verb->get_option_no_throw(option_name) : nullptr;
  if (option && takes_value(*option)) {
    if (option->get_delimiter() != '\0')
      before = last.substr(0, std::max(before.size(), last.rfind(option->get_delimiter()) + 1));
    for (const std::string& choice : choices(*option)) offer(before + choice, "");
  } else if (last.starts_with('-') || positionals(*verb).empty()) {
    for (const CLI::Option* o : named_options(*verb))
      for (const std::string& name : o->get_lnames()) offer("--" + name, o->get_description());
  }
  return 0;
}

}  // namespace

void add_manual(CLI::App& app, Run& run) {
  CLI::App& manual = *app.add_subcommand("manual", "The manual page voxpop(1), in roff")->group("");
  manual.footer("Example:\n  voxpop manual > voxpop.1");
  manual.callback([&app, &run] { run = [&app] { return print_manual(app); }; });

  CLI::App& completion = *app.add_subcommand("completion", "The completion script for a shell")->group("");
  auto shell = std::make_shared<std::string>();
  completion.add_option("SHELL", *shell, "The shell")->required()->check(CLI::IsMember(kCompletions));
  completion.footer("Example:\n  source <(voxpop completion bash)");
  completion.callback([=, &run] {
    run = [shell] {
      fmt::print("{}", kCompletions.at(*shell));
      return 0;
    };
  });

  CLI::App& candidates =
      *app.add_subcommand("candidates", "List the candidates for the last word of a command line")->group("");
  auto words = std::make_shared<std::vector<std::string>>();
  candidates.add_option("WORD", *words, "The command line after 'voxpop'; its last word may be incomplete");
  candidates.footer("Example:\n  voxpop candidates -- fit --mo");
  candidates.callback([=, &app, &run] { run = [words, &app] { return print_candidates(app, *words); }; });
}

}  // namespace voxpop
