#pragma once
#include <string>

namespace voxpop {

/// How much a finding matters: good to know; labels need care; labels are wrong, or nobody can tell whether they are.
enum class Level { kNote, kCare, kDoNotTrain };

/// Something about votes that whoever fits or trains on them should know.
struct Finding {
  std::string kind;  ///< a name for programs, snake_case
  Level level;
  std::string text;    ///< for people: figures, and who or what it is about
  std::string remedy;  ///< what mends it, with the command where there is one
};

}  // namespace voxpop
