// A library for LD_PRELOAD that makes the disk fail under a program, RocksDB and all: it counts the calls that change
// files under one directory and, at the call with a given number, does one of
//   kill   ends the process before the call
//   drop   ends it, and takes back everything that was not synced: files are cut to what fsync has covered, changed
//          bytes get their old values, and what happened to a directory since it was synced (files made, renamed,
//          removed) has not happened
//   eio    lets the call fail with EIO, and every later one of its kind
//   nospc  lets this call and every later one that needs room fail with ENOSPC; dquot: with EDQUOT
// Environment: FAULT_DIR (absolute), FAULT_KIND, FAULT_AT (1: the first), FAULT_CALLS (letters: w write, s sync, r rename,
// c create, u unlink, R read; default wsrcu), FAULT_COUNT_FILE (written at a normal end: how many calls there were).
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

template <typename Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

struct Unsynced {
  off_t durable_size = 0;                               // what fsync has covered
  std::vector<std::pair<off_t, std::string>> old_bytes;  // overwritten since, newest last
};

// Something done to a directory that was not synced since.
struct Entry {
  enum class Kind { made, renamed, removed } kind;
  std::string path;   // where the file is now, or was
  std::string from;   // renamed: where it was
  std::string saved;  // where what `path` was before is kept; empty: nothing was there
};

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

class Faults {
 public:
  Faults() {
    const auto text = [](const char* name) {
      const char* value = getenv(name);
      return std::string(value ? value : "");
    };
    directory_ = text("FAULT_DIR");
    kind_ = text("FAULT_KIND");
    at_ = strtoul(text("FAULT_AT").c_str(), nullptr, 10);
    calls_ = text("FAULT_CALLS").empty() ? "wsrcu" : text("FAULT_CALLS");
    count_file_ = text("FAULT_COUNT_FILE");
    armed_ = !directory_.empty();
  }

  // The path of a descriptor under the directory; empty for all others.
  std::string path_of(int descriptor) const {
    if (!armed_) return "";
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    return length > 0 ? covered(std::string(path, static_cast<size_t>(length))) : "";
  }
  std::string covered(std::string path) const {
    if (!armed_) return "";
    if (!path.empty() && path[0] != '/') {
      char here[4096];
      if (getcwd(here, sizeof here)) path = std::string(here) + "/" + path;
    }
    return path.compare(0, directory_.size(), directory_) == 0 ? path : "";
  }

  // Counts one call; 0: go on, else the errno to fail with. Does not return when the process is to end.
  int step(char call, const std::string& path) {
    if (path.empty() || calls_.find(call) == std::string::npos) return 0;
    const std::lock_guard lock(mutex_);
    ++count_;
    if (at_ == 0 || count_ < at_) return 0;
    if (kind_ == "kill") raise(SIGKILL);
    if (kind_ == "drop") {
      take_back();
      raise(SIGKILL);
    }
    if (kind_ == "eio" && (count_ == at_ || call == failing_)) {
      failing_ = call;
      return EIO;
    }
    if (kind_ == "nospc" && (call == 'w' || call == 'c')) return ENOSPC;
    if (kind_ == "dquot" && (call == 'w' || call == 'c')) return EDQUOT;
    return 0;
  }

  void before_write(int descriptor, const std::string& path, off_t offset, size_t bytes) {
    if (kind_ != "drop" || path.empty()) return;
    const std::lock_guard lock(mutex_);
    Unsynced& file = files_.try_emplace(path, Unsynced{size_of(descriptor), {}}).first->second;
    if (offset >= file.durable_size) return;
    std::string old(bytes, '\0');
    const ssize_t got = pread(descriptor, old.data(), bytes, offset);
    if (got > 0) file.old_bytes.emplace_back(offset, old.substr(0, static_cast<size_t>(got)));
  }
  void on_synced(int descriptor, const std::string& path) {
    if (kind_ != "drop" || path.empty()) return;
    struct stat status;
    if (fstat(descriptor, &status) != 0) return;
    const std::lock_guard lock(mutex_);
    if (S_ISDIR(status.st_mode)) {
      std::erase_if(entries_, [&](const Entry& entry) { return parent_of(entry.path) == path; });
    } else {
      files_[path] = Unsynced{status.st_size, {}};
    }
  }
  void on_created(const std::string& path) {
    if (kind_ != "drop" || path.empty()) return;
    const std::lock_guard lock(mutex_);
    files_[path] = Unsynced{};
    entries_.push_back({Entry::Kind::made, path, "", ""});
  }
  // A second name of a file, whose bytes are as durable as they were.
  void on_linked(const std::string& path) {
    if (kind_ != "drop" || path.empty()) return;
    const std::lock_guard lock(mutex_);
    entries_.push_back({Entry::Kind::made, path, "", ""});
  }
  // Before a call that replaces or removes what is at `path`; the name goes to on_renamed or on_removed.
  std::string save(const std::string& path) {
    if (kind_ != "drop" || path.empty() || access(path.c_str(), F_OK) != 0) return "";
    const std::lock_guard lock(mutex_);
    const std::string saved = directory_ + "-saved-" + std::to_string(++saved_);
    return real<int(const char*, const char*)>("link")(path.c_str(), saved.c_str()) == 0 ? saved : "";
  }
  void on_renamed(const std::string& from, const std::string& to, const std::string& saved) {
    if (kind_ != "drop" || to.empty()) return;
    const std::lock_guard lock(mutex_);
    if (const auto file = files_.find(from); file != files_.end()) {
      files_[to] = file->second;
      files_.erase(file);
    }
    entries_.push_back({Entry::Kind::renamed, to, from, saved});
  }
  void on_removed(const std::string& path, const std::string& saved) {
    if (kind_ != "drop" || path.empty()) return;
    const std::lock_guard lock(mutex_);
    entries_.push_back({Entry::Kind::removed, path, "", saved});
  }

  ~Faults() {
    if (count_file_.empty()) return;
    if (FILE* file = fopen(count_file_.c_str(), "w")) {
      fprintf(file, "%lu\n", count_);
      fclose(file);
    }
    armed_ = false;
  }

 private:
  static off_t size_of(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 ? status.st_size : 0;
  }

  // Under the lock, which is never given back: what other threads do meanwhile must not be half taken back.
  void take_back() {
    const auto move = real<int(const char*, const char*)>("rename");
    for (const auto& [path, file] : files_) {
      const int descriptor = real<int(const char*, int, ...)>("open")(path.c_str(), O_RDWR);
      if (descriptor < 0) continue;
      for (auto old = file.old_bytes.rbegin(); old != file.old_bytes.rend(); ++old)
        if (real<ssize_t(int, const void*, size_t, off_t)>("pwrite64")(descriptor, old->second.data(), old->second.size(), old->first) < 0) abort();
      if (size_of(descriptor) > file.durable_size && ftruncate(descriptor, file.durable_size) != 0) abort();
      close(descriptor);
    }
    for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
      if (entry->kind == Entry::Kind::made) real<int(const char*)>("unlink")(entry->path.c_str());
      if (entry->kind == Entry::Kind::renamed) move(entry->path.c_str(), entry->from.c_str());
      if (!entry->saved.empty()) move(entry->saved.c_str(), entry->path.c_str());
    }
  }

  std::string directory_, kind_, calls_, count_file_;
  unsigned long at_ = 0, count_ = 0;
  char failing_ = 0;
  bool armed_ = false;
  std::mutex mutex_;
  std::map<std::string, Unsynced> files_;
  std::vector<Entry> entries_;
  unsigned long saved_ = 0;
};

Faults& faults() {
  static Faults one;
  return one;
}

int failed(int error) {
  errno = error;
  return -1;
}

int open_with_faults(const char* name, const char* path, int flags, mode_t mode) {
  std::string covered = faults().covered(path);
  const bool makes = (flags & O_CREAT) != 0 && !covered.empty() && access(path, F_OK) != 0;
  if (makes)
    if (const int error = faults().step('c', covered)) return failed(error);
  const int descriptor = real<int(const char*, int, ...)>(name)(path, flags, mode);
  if (makes && descriptor >= 0) faults().on_created(covered);
  return descriptor;
}

template <typename Write>
ssize_t write_with_faults(int descriptor, off_t offset, size_t bytes, const Write& write) {
  const std::string path = faults().path_of(descriptor);
  if (const int error = faults().step('w', path)) return failed(error);
  faults().before_write(descriptor, path, offset, bytes);
  return write();
}

int sync_with_faults(const char* name, int descriptor) {
  const std::string path = faults().path_of(descriptor);
  if (const int error = faults().step('s', path)) return failed(error);
  const int result = real<int(int)>(name)(descriptor);
  if (result == 0) faults().on_synced(descriptor, path);
  return result;
}

}  // namespace

#define FAULTY extern "C" __attribute__((visibility("default")))

FAULTY int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  return open_with_faults("open", path, flags, mode);
}
FAULTY int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  return open_with_faults("open64", path, flags, mode);
}
FAULTY ssize_t write(int descriptor, const void* data, size_t bytes) {
  const off_t offset = lseek(descriptor, 0, SEEK_CUR);
  return write_with_faults(descriptor, offset, bytes, [&] { return real<ssize_t(int, const void*, size_t)>("write")(descriptor, data, bytes); });
}
FAULTY ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t offset) {
  return write_with_faults(descriptor, offset, bytes, [&] { return real<ssize_t(int, const void*, size_t, off_t)>("pwrite")(descriptor, data, bytes, offset); });
}
FAULTY ssize_t pwrite64(int descriptor, const void* data, size_t bytes, off64_t offset) {
  return write_with_faults(descriptor, offset, bytes, [&] { return real<ssize_t(int, const void*, size_t, off_t)>("pwrite64")(descriptor, data, bytes, offset); });
}
FAULTY ssize_t pread(int descriptor, void* data, size_t bytes, off_t offset) {
  if (const int error = faults().step('R', faults().path_of(descriptor))) return failed(error);
  return real<ssize_t(int, void*, size_t, off_t)>("pread")(descriptor, data, bytes, offset);
}
FAULTY ssize_t pread64(int descriptor, void* data, size_t bytes, off64_t offset) {
  if (const int error = faults().step('R', faults().path_of(descriptor))) return failed(error);
  return real<ssize_t(int, void*, size_t, off_t)>("pread64")(descriptor, data, bytes, offset);
}
FAULTY int fsync(int descriptor) { return sync_with_faults("fsync", descriptor); }
FAULTY int fdatasync(int descriptor) { return sync_with_faults("fdatasync", descriptor); }
FAULTY int rename(const char* from, const char* to) {
  const std::string target = faults().covered(to);
  if (const int error = faults().step('r', target)) return failed(error);
  const std::string saved = faults().save(target);
  const int result = real<int(const char*, const char*)>("rename")(from, to);
  if (result == 0) faults().on_renamed(faults().covered(from), target, saved);
  return result;
}
FAULTY int link(const char* from, const char* to) {
  if (const int error = faults().step('c', faults().covered(to))) return failed(error);
  const int result = real<int(const char*, const char*)>("link")(from, to);
  if (result == 0) faults().on_linked(faults().covered(to));
  return result;
}
FAULTY int unlink(const char* path) {
  const std::string covered = faults().covered(path);
  if (const int error = faults().step('u', covered)) return failed(error);
  const std::string saved = faults().save(covered);
  const int result = real<int(const char*)>("unlink")(path);
  if (result == 0) faults().on_removed(covered, saved);
  return result;
}
