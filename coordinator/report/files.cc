#include "coordinator/report/files.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

#include "coordinator/report/csv.h"
#include "coordinator/report/html.h"
#include "coordinator/report/json.h"
#include "coordinator/report/tables.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

struct Form {
  const char* format;
  const char* file;
  std::string (*write)(const JobReport&);
};

std::string json_file(const JobReport& report) { return report_to_json(report) + "\n"; }

constexpr std::array kForms = {
    Form{"text", "report.txt", report_to_text},   Form{"markdown", "report.md", report_to_markdown},
    Form{"csv", "report.csv", report_to_csv},     Form{"json", "report.json", json_file},
    Form{"latex", "report.tex", report_to_latex}, Form{"html", "index.html", report_to_html},
};

void write_file(const std::filesystem::path& path, const std::string& text) {
  const std::filesystem::path partial = path.string() + ".partial";
  {
    std::ofstream out(partial, std::ios::binary | std::ios::trunc);
    out << text << std::flush;
    if (!out) {
      const int problem = errno;
      std::error_code ignored;
      std::filesystem::remove(partial, ignored);
      throw errno_error(ErrorCode::failed, "cannot write " + path.string(), problem);
    }
  }
  std::error_code error;
  std::filesystem::rename(partial, path, error);
  if (error) throw Error(ErrorCode::failed, "cannot write " + path.string() + ": " + error.message());
}

}  // namespace

const std::vector<std::string>& report_formats() {
  static const std::vector<std::string> formats = [] {
    std::vector<std::string> names;
    for (const Form& form : kForms) names.emplace_back(form.format);
    return names;
  }();
  return formats;
}

void write_report_files(const JobReport& report, const std::filesystem::path& directory,
                        const std::vector<std::string>& formats) {
  for (const std::string& format : formats)
    if (std::find(report_formats().begin(), report_formats().end(), format) == report_formats().end()) {
      std::string known;
      for (const std::string& name : report_formats()) known += (known.empty() ? "" : ", ") + name;
      throw Error(ErrorCode::bad_input, "--format " + format + ": expected some of " + known);
    }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw Error(ErrorCode::failed, "cannot make " + directory.string() + ": " + error.message());
  for (const Form& form : kForms)
    if (formats.empty() || std::find(formats.begin(), formats.end(), form.format) != formats.end())
      write_file(directory / form.file, form.write(report));
}

}  // namespace quench::coordinator
