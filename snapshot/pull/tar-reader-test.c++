// Tests the tar reader with the formats in use and with malformed archives.
#include "snapshot/pull/tar-reader.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include "snapshot/pull/pull-error.h"
#include "snapshot/pull/tar-test-util.h"

namespace belay::snapshot {
namespace {

// An archive in memory that hands out its bytes in small pieces, as pipes do.
class PiecewiseInput final : public kj::InputStream {
 public:
  PiecewiseInput(const std::string& bytes, size_t piece) : bytes(bytes), piece(piece) {}
  size_t tryRead(void* buffer, size_t minBytes, size_t maxBytes) override {
    size_t n = std::min({std::max(piece, minBytes), maxBytes, bytes.size() - at});
    memcpy(buffer, bytes.data() + at, n);
    at += n;
    return n;
  }

 private:
  std::string bytes;
  size_t piece;
  size_t at = 0;
};

struct Read {
  std::vector<std::string> lines;  // "TYPE PATH CONTENT"
  std::string failure;
};

Read readAll(const std::string& archive, size_t piece = 100) {
  Read result;
  PiecewiseInput input(archive, piece);
  TarReader reader(input);
  try {
    for (;;) {
      KJ_IF_MAYBE (entry, reader.next()) {
        std::string content;
        for (auto bytes = reader.content(); bytes.size() > 0; bytes = reader.content()) {
          content.append(bytes.asChars().begin(), bytes.size());
        }
        result.lines.push_back(std::to_string(static_cast<int>(entry->type)) + " " +
                               entry->path.cStr() + " " + content);
      } else {
        break;
      }
    }
  } catch (const kj::Exception& e) {
    result.failure = pullErrorSentence(e).cStr();
  }
  return result;
}

TarEntry readOne(const std::string& archive) {
  PiecewiseInput input(archive, 4096);
  TarReader reader(input);
  return KJ_ASSERT_NONNULL(reader.next());
}

TEST(TarReader, ReadsEntriesWithTheirContentWhateverThePieces) {
  std::string archive = tarFolder("a/") + tarFile("a/b", std::string(1300, 'x')) +
                        tarFile("a/empty", "") + tarFile("c", "end") + tarEnd();
  for (size_t piece : {1, 7, 512, 100000}) {
    auto read = readAll(archive, piece);
    EXPECT_EQ(read.failure, "");
    ASSERT_EQ(read.lines.size(), 4u);
    EXPECT_EQ(read.lines[1], "0 a/b " + std::string(1300, 'x'));
    EXPECT_EQ(read.lines[2], "0 a/empty ");
    EXPECT_EQ(read.lines[3], "0 c end");
  }
}

TEST(TarReader, SkipsContentThatNobodyReads) {
  PiecewiseInput input(tarFile("big", std::string(1'000'000, 'x')) + tarFile("next", "y"), 65536);
  TarReader reader(input);
  EXPECT_EQ(KJ_ASSERT_NONNULL(reader.next()).path, "big");
  EXPECT_EQ(reader.contentOffset(), 512u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(reader.next()).path, "next");
  EXPECT_TRUE(reader.next() == nullptr);
}

TEST(TarReader, TakesPaxRecordsOverHeaderFields) {
  std::string records = paxRecord("path", "long/" + std::string(200, 'n')) +
                        paxRecord("linkpath", "target") + paxRecord("size", "5") +
                        paxRecord("uid", "3000000") + paxRecord("gid", "4000000") +
                        paxRecord("mtime", "1700000001.25") +
                        paxRecord("SCHILY.xattr.user.note", std::string("a\0b", 3));
  PiecewiseInput input(tarPax(records) + TestHeader('0', "short").seal() + padded("hello"), 512);
  TarReader reader(input);
  TarEntry entry = KJ_ASSERT_NONNULL(reader.next());
  EXPECT_EQ(entry.path.size(), 205u);
  EXPECT_EQ(entry.sizeBytes, 5u);
  EXPECT_EQ(entry.uid, 3000000u);
  EXPECT_EQ(entry.gid, 4000000u);
  EXPECT_EQ(entry.mtime.tv_sec, 1700000001);
  EXPECT_EQ(entry.mtime.tv_nsec, 250000000);
  ASSERT_EQ(entry.xattrs.size(), 1u);
  EXPECT_EQ(entry.xattrs[0].name, "user.note");
  EXPECT_EQ(entry.xattrs[0].value.size(), 3u);
  EXPECT_TRUE(reader.next() == nullptr);
}

TEST(TarReader, ForgetsPaxRecordsAfterTheirEntry) {
  auto read = readAll(tarPax(paxRecord("path", "renamed")) + tarFile("one", "1") +
                      tarFile("two", "2") + tarEnd());
  EXPECT_EQ(read.lines, (std::vector<std::string>{"0 renamed 1", "0 two 2"}));
}

TEST(TarReader, ReadsGnuLongNames) {
  std::string name(300, 'l');
  auto read = readAll(TestHeader('L', "././@LongLink", 301).seal() + padded(name + '\0') +
                      tarFile("short", "x"));
  EXPECT_EQ(read.lines, (std::vector<std::string>{"0 " + name + " x"}));
}

TEST(TarReader, JoinsPosixPrefixAndName) {
  auto header = TestHeader('0', "name").put(345, "some/prefix");
  EXPECT_EQ(readOne(header.seal()).path, "some/prefix/name");
}

TEST(TarReader, ReadsBinaryNumbers) {
  auto header = TestHeader('0', "big");
  header.put(108, std::string("\x80\0\0\0\0\x0f\x42\x40", 8));
  EXPECT_EQ(readOne(header.seal()).uid, 1000000u);
  header.put(136, std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12));
  EXPECT_EQ(readOne(header.seal()).mtime.tv_sec, -2);
}

TEST(TarReader, IgnoresTheSizeOfLinks) {
  auto read = readAll(TestHeader('1', "link", 700).link("a").seal() + tarFile("b", "2"));
  EXPECT_EQ(read.lines, (std::vector<std::string>{"1 link ", "0 b 2"}));
}

TEST(TarReader, EndsAtZeroesOrCleanEndOfInput) {
  EXPECT_EQ(readAll("").failure, "");
  EXPECT_EQ(readAll(tarFile("a", "1")).failure, "");
  auto read = readAll(tarFile("a", "1") + tarEnd() + "rubbish after the end");
  EXPECT_EQ(read.lines.size(), 1u);
  EXPECT_EQ(read.failure, "");
}

struct Malformed {
  const char* what;
  std::string archive;
  const char* sentence;
};

class TarReaderRefuses : public ::testing::TestWithParam<Malformed> {};

TEST_P(TarReaderRefuses, WithASentence) {
  auto read = readAll(GetParam().archive);
  EXPECT_NE(read.failure.find(GetParam().sentence), std::string::npos) << read.failure;
}

std::string spoilt(std::string archive, size_t at) {
  archive[at] ^= 0x55;
  return archive;
}

INSTANTIATE_TEST_SUITE_P(
    Malformed, TarReaderRefuses,
    ::
        testing::
            Values(
                Malformed{"content", tarFile("a", std::string(5000, 'x')).substr(0, 2000),
                          "ends in the middle"},
                Malformed{"header", tarFile("a", "x").substr(0, 300), "ends in the middle"},
                Malformed{"padding", tarFile("a", "x").substr(0, 600), "ends in the middle"},
                Malformed{"pax alone", tarPax(paxRecord("path", "x")), "ends in the middle"},
                Malformed{"pax then end", tarPax(paxRecord("path", "x")) + tarEnd(),
                          "ends in the middle"},
                Malformed{"checksum", spoilt(tarFile("a", "x"), 3), "checksum"},
                Malformed{"no tar", std::string(512, 'z'), "checksum"},
                Malformed{"octal", TestHeader('0', "a").put(124, "12x45").seal(),
                          "size is not a number"},
                Malformed{"negative size",
                          TestHeader('0', "a").put(124, std::string(12, '\xff')).seal(),
                          "size is negative"},
                Malformed{"huge number",
                          TestHeader('0', "a")
                              .put(124, std::string("\x80") + std::string(11, '\x7f'))
                              .seal(),
                          "too large"},
                Malformed{
                    "uid",
                    TestHeader('0', "a").put(108, std::string("\x80\0\0\x01\0\0\0\0", 8)).seal(),
                    "out of range"},
                Malformed{"sparse", TestHeader('S', "a").seal(), "sparse"},
                Malformed{
                    "pax sparse",
                    tarPax(paxRecord("GNU.sparse.major", "1")) + tarFile("a", ""), "sparse"},
                Malformed{"unknown type", TestHeader('V', "label").seal(), "type 86"},
                Malformed{
                    "pax length",
                    tarPax("99 path=x\n") + tarFile("a", ""), "pax header is malformed"},
                Malformed{
                    "pax no length", tarPax("path=x\n") + tarFile("a", ""),
                    "pax header is malformed"},
                Malformed{
                    "pax short length", tarPax("3 path=x\n") + tarFile("a", ""),
                    "pax header is malformed"},
                Malformed{
                    "pax huge length",
                    tarPax("99999999999999999999 a=b\n") + tarFile("a", ""), "malformed"},
                Malformed{
                    "pax no key",
                    tarPax(paxRecord("", "x")) + tarFile("a", ""), "has no key"},
                Malformed{"pax no equals", tarPax("9 abcdef\n") + tarFile("a", ""), "has no key"},
                Malformed{
                    "pax size",
                    tarPax(paxRecord("size", "-5")) + tarFile("a", ""), "\"size\" is malformed"},
                Malformed{
                    "pax mtime",
                    tarPax(paxRecord("mtime", "1.5e3")) + tarFile("a", ""),
                    "\"mtime\" is malformed"},
                Malformed{
                    "NUL in name",
                    tarPax(paxRecord("path", std::string("a\0b", 3))) + tarFile("a", ""), "NUL"},
                Malformed{
                    "long name",
                    tarPax(paxRecord("path", std::string(5000, 'p'))) + tarFile("a", ""),
                    "too long"},
                Malformed{"huge pax", TestHeader('x', "pax", 2 << 20).seal(), "too long"},
                Malformed{
                    "many pax",
                    [] {
                      std::string archive;
                      std::string half = tarPax(paxRecord("comment", std::string(600'000, 'c')));
                      return half + half + tarFile("a", "");
                    }(),
                    "too long"}),
    [](const auto& info) {
      std::string name = info.param.what;
      for (char& c : name) {
        if (!isalnum(static_cast<unsigned char>(c))) c = '_';
      }
      return name;
    });

TEST(TarReader, DrainsPaddingButNotWithoutEnd) {
  PiecewiseInput input(tarFile("a", "1") + tarEnd() + std::string(20000, '\0'), 4096);
  TarReader reader(input);
  while (reader.next() != nullptr) {
  }
  reader.drain(100'000);
  EXPECT_EQ(reader.bytesRead(), 1024u + 1024 + 20000);

  PiecewiseInput endless(tarEnd() + std::string(200'000, '\0'), 4096);
  TarReader other(endless);
  EXPECT_TRUE(other.next() == nullptr);
  EXPECT_ANY_THROW(other.drain(100'000));
}

}  // namespace
}  // namespace belay::snapshot
