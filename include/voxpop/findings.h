#pragma once
#include <string>

namespace voxpop {

/// Severity of a finding. kNote: good to know. kCare: use the labels with care. kDoNotTrain: the labels are wrong, or
/// nothing shows that they are right.
enum class Level { kNote, kCare, kDoNotTrain };

/// A property of the votes that matters for fitting or training.
struct Finding {
  std::string kind;  ///< a name in snake_case, for programs
  Level level;
  std::string text;    ///< for people: numbers, and the items or annotators concerned
  std::string remedy;  ///< how to fix it, with a command if there is one
};

}  // namespace voxpop
