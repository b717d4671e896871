// `artifacts ls`: what a store has, found by what people remember of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/repository/lineage.h"

namespace quench::coordinator {

struct ListChoice {
  std::string name;    // pattern with '*'; empty: any
  std::string model;   // part of the model's name, or a beginning of its digest
  std::string method;
  std::optional<std::uint32_t> bits;
  std::string benchmark;  // whose pass@1 is shown; empty: the first that was evaluated
  std::optional<std::uint64_t> bytes_max;
  std::optional<double> percent_min;  // of pass@1; what has no score has not reached it
  std::string sort = "name";
  bool reverse = false;
};
inline const std::vector<std::string> kListSorts = {"name", "date", "size", "bits", "loss", "pass@1"};

std::string list_artifacts(const ArtifactStore& store, const ListChoice& choice, bool json);

// Every change of a name, newest first.
std::string log_of_name(const ArtifactStore& store, const std::string& name, bool json);

}  // namespace quench::coordinator
