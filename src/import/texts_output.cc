#include "import/texts_output.h"

#include <nlohmann/json.hpp>

namespace voxpop {
namespace {

/// Appends a list of messages unchanged, and any other text as a JSON string.
void append_value(std::string_view text, std::string& out) {
  if (text.starts_with("[{") && nlohmann::json::accept(text))
    out += text;
  else
    out += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

void TextsOutput::write(std::string_view id, std::string_view text, std::string_view prompt) {
  line_ = "{\"id\":";
  line_ += nlohmann::json(id).dump();
  line_ += ",\"text\":";
  append_value(text, line_);
  if (!prompt.empty()) {
    line_ += ",\"prompt\":";
    append_value(prompt, line_);
  }
  line_ += "}\n";
  output_.write(line_);
  ++count_;
}

}  // namespace voxpop
