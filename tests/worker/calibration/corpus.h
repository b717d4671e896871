// Texts that look like a corpus's: made of words drawn with a seed, so that no two of them resemble each
// other.
#pragma once

#include <filesystem>
#include <random>
#include <string>

#include "tests/support/processes.h"

namespace quench::testing {

class WordSource {
 public:
  explicit WordSource(std::uint32_t seed) : random_(seed) {}
  std::string word() {
    std::string text;
    for (int i = 0; i < 7; ++i) text += static_cast<char>('a' + random_() % 26);
    return text;
  }
  std::string prose(int words) {
    std::string text;
    for (int i = 0; i < words; ++i) text += (i == 0 ? "" : i % 12 == 0 ? ".\n" : " ") + word();
    return text + ".\n";
  }
  std::string python(int functions) {
    std::string text;
    for (int i = 0; i < functions; ++i) {
      const std::string a = word(), b = word();
      text +=
          "def " + word() + "(" + a + ", " + b + "):\n    return " + a + " * " + b + " - " + word() + "\n\n";
    }
    return text;
  }
  std::string java(int methods) {
    std::string text = "class " + word() + " {\n";
    for (int i = 0; i < methods; ++i) {
      const std::string a = word();
      text += "  int " + word() + "(int " + a + ") {\n    return " + a + " + " + word() + ";\n  }\n";
    }
    return text + "}\n";
  }

 private:
  std::mt19937 random_;
};

// `root`/repoN/src/main.py and Main.java, N from 0, each repository with a licence.
inline void write_repositories(const std::filesystem::path& root, int count, std::uint32_t seed,
                               int functions = 12) {
  for (int i = 0; i < count; ++i) {
    WordSource words(seed + static_cast<std::uint32_t>(i));
    const auto repository = root / ("repo" + std::to_string(i));
    std::filesystem::create_directories(repository / "src");
    write_text(repository / "LICENSE",
               "MIT License\n\nPermission is hereby granted, free of charge, to any person\n");
    write_text(repository / "src" / "main.py", words.python(functions));
    write_text(repository / "src" / "Main.java", words.java(functions));
  }
}

// A dump with `count` questions about Python that no filter has anything against.
inline std::string dump_of_questions(int count, std::uint32_t seed) {
  std::string xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<posts>\n";
  for (int i = 0; i < count; ++i) {
    WordSource words(seed + static_cast<std::uint32_t>(i));
    std::string body;
    for (int j = 0; j < 8; ++j)
      body += "how can I do this " + words.word() + " and it is not the " + words.word() + " that I have ";
    xml += "  <row Id=\"" + std::to_string(i + 1) + "\" PostTypeId=\"1\" Score=\"12\" Title=\"What is " +
           words.word() + "?\" Tags=\"&lt;python&gt;\" Body=\"&lt;p&gt;" + body +
           "&lt;/p&gt;\" ContentLicense=\"CC BY-SA 4.0\" />\n";
  }
  return xml + "</posts>\n";
}

}  // namespace quench::testing
