#include "worker/calibration/stack_exchange.h"

#include <gtest/gtest.h>

#include "schemas/error.h"
#include "tests/support/processes.h"

namespace quench::worker {
namespace {

using testing::ScratchDirectory;
using testing::write_text;

struct Read {
  std::vector<Document> documents;
  Tally tally;
};

Read read_dump(const std::string& xml, std::int64_t score_min = 10) {
  const ScratchDirectory scratch;
  write_text(scratch / "Posts.xml", xml);
  Read read;
  TextReader reader(scratch / "Posts.xml");
  read_stack_exchange(reader, "Posts.xml", score_min, read.tally,
                      [&](Document document) { read.documents.push_back(std::move(document)); });
  return read;
}

std::string error_of(const std::string& xml) {
  try {
    read_dump(xml);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  ADD_FAILURE() << "it was read";
  return {};
}

constexpr const char* kBody =
    "&lt;p&gt;How can I do this with the &lt;code&gt;list&lt;/code&gt; that I have?&lt;/p&gt;";

std::string row(const std::string& attributes) {
  return "<row " + attributes + " Title=\"What is this?\" Body=\"" + std::string(kBody) + "\" />\n";
}
std::string dump(const std::string& rows) {
  return "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<posts>\n" + rows + "</posts>";
}

TEST(StackExchange, TakesGoodQuestionsAboutPythonOrJava) {
  const Read read = read_dump(
      dump(row("Id=\"4\" PostTypeId=\"1\" Score=\"10\" Tags=\"&lt;python-3.x&gt;&lt;list&gt;\" "
               "ContentLicense=\"CC BY-SA 4.0\"") +
           row("Id=\"5\" PostTypeId=\"1\" Score=\"44\" Tags=\"|java|\"") +
           row("Id=\"6\" PostTypeId=\"2\" Score=\"44\"") +
           row("Id=\"7\" PostTypeId=\"1\" Score=\"9\" Tags=\"&lt;python&gt;\"") +
           row("Id=\"8\" PostTypeId=\"1\" Score=\"90\" Tags=\"&lt;javascript&gt;&lt;pythonanywhere&gt;\"")));
  ASSERT_EQ(read.documents.size(), 2u);
  EXPECT_EQ(read.documents[0].text, "What is this?\n\nHow can I do this with the list that I have?");
  EXPECT_EQ(read.documents[0].origin, "Posts.xml#4");
  EXPECT_EQ(read.documents[0].licence, "CC BY-SA 4.0");
  EXPECT_EQ(read.documents[1].origin, "Posts.xml#5");
  EXPECT_EQ(read.documents[1].licence, "CC-BY-SA");
  EXPECT_EQ(read.tally.documents_read(), 4u) << "answers are not documents";
  EXPECT_EQ(read.tally.count(Reason::low_score), 1u);
  EXPECT_EQ(read.tally.count(Reason::off_topic), 1u);
}

TEST(StackExchange, LeavesOtherLanguagesOut) {
  const Read read = read_dump(
      dump("<row Id=\"1\" PostTypeId=\"1\" Score=\"50\" Tags=\"&lt;python&gt;\" Title=\"Como leer\" "
           "Body=\"&lt;p&gt;¿Cómo puedo leer un archivo más grande que la memoria?&lt;/p&gt;\" />\n"));
  EXPECT_TRUE(read.documents.empty());
  EXPECT_EQ(read.tally.count(Reason::not_english), 1u);
}

TEST(StackExchange, RefusesWhatIsNoDump) {
  EXPECT_NE(error_of("<html><body>no</body></html>").find("found the element <html>"), std::string::npos);
  EXPECT_NE(error_of(dump("<row Id=\"1\"><b/></row>")).find("found the element <b>"), std::string::npos);
  EXPECT_NE(error_of("<posts>\n<row Id=\"1\"").find("not well-formed XML"), std::string::npos);
  EXPECT_NE(error_of("").find("not well-formed XML"), std::string::npos);
  EXPECT_NE(
      error_of(dump(row("Id=\"x\" PostTypeId=\"1\" Score=\"1\""))).find("line 3: the attribute Id is \"x\""),
      std::string::npos);
  EXPECT_NE(error_of(dump(row("Id=\"1\" PostTypeId=\"1\" Score=\"9999999999999999999999\""))).find("Score"),
            std::string::npos);
}

// A few lines that would become gigabytes.
TEST(StackExchange, RefusesEntitiesOfItsOwn) {
  std::string bomb = "<?xml version=\"1.0\"?>\n<!DOCTYPE posts [<!ENTITY a \"aaaaaaaaaa\">";
  for (char c = 'b'; c <= 'k'; ++c) {
    bomb += std::string("<!ENTITY ") + c + " \"";
    for (int i = 0; i < 10; ++i) bomb += std::string("&") + static_cast<char>(c - 1) + ";";
    bomb += "\">";
  }
  EXPECT_NE(error_of(bomb + "]>\n<posts>&k;</posts>").find("declares a document type"), std::string::npos);
  EXPECT_NE(error_of("<!DOCTYPE p SYSTEM \"file:///etc/passwd\">\n<posts/>").find("declares a document type"),
            std::string::npos);
}

TEST(StackExchange, BoundsARow) {
  EXPECT_NE(error_of("<posts><row Id=\"1\" Body=\"" + std::string(6 << 20, 'x') + "\"/></posts>")
                .find("longer than 4 MiB"),
            std::string::npos);
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<posts>";
  EXPECT_NE(error_of(deep).find("found the element <posts>"), std::string::npos);
}

}  // namespace
}  // namespace quench::worker
