// Tokenizes lines for the comparison with peers and for measuring speed; no product.
//   tokenize_lines MODEL_DIR          each line of stdin is a JSON string; prints {"ids", "with_special",
//                                     "text", "all_text"}: ids, ids with special tokens, and both decodings
//                                     (or {"error"})
//   tokenize_lines MODEL_DIR --speed FILE    prints MB/s (processor time) of encoding and decoding FILE
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "schemas/error.h"
#include "worker/tokenize/tokenizer.h"

namespace {

using namespace quench::worker;
using nlohmann::json;

// Of this thread's processor, so that a busy machine does not show.
double processor_s() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

int measure(const Tokenizer& tokenizer, const char* path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  double start = processor_s();
  const auto ids = tokenizer.encode(text, AddSpecialTokens::no);
  const double encode_s = processor_s() - start;
  start = processor_s();
  const std::string back = tokenizer.decode(ids, SkipSpecialTokens::no);
  const double decode_s = processor_s() - start;
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  std::cout << json{{"megabytes", megabytes},
                    {"tokens", ids.size()},
                    {"encode_mb_per_s", megabytes / encode_s},
                    {"decode_mb_per_s", megabytes / decode_s},
                    {"same", back == text}}
            << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto tokenizer = load_tokenizer(argc > 1 ? argv[1] : "");
    if (argc == 4 && std::string(argv[2]) == "--speed") return measure(*tokenizer, argv[3]);
    std::string line;
    while (std::getline(std::cin, line)) {
      try {
        const std::string text = json::parse(line).get<std::string>();
        const auto ids = tokenizer->encode(text, AddSpecialTokens::no);
        std::cout << json{{"ids", ids},
                          {"with_special", tokenizer->encode(text, AddSpecialTokens::yes)},
                          {"text", tokenizer->decode(ids, SkipSpecialTokens::yes)},
                          {"all_text", tokenizer->decode(ids, SkipSpecialTokens::no)}}
                  << "\n";
      } catch (const quench::Error& error) {
        std::cout << json{{"error", error.what()}} << "\n";
      }
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
  return 0;
}
