// The short way for an answer, from its fork to an empty namespace: the loop of PID 1 (quick.py loads it).
//
// A short program costs little more than its fork, and a fork costs by the page: whatever the interpreter does in PID 1
// between two forks writes reference counts all over its memory, and each page written is a fault and a copy on one side or the other. So
// PID 1 waits, forks, kills and reaps here, on three pages of its own, and returns to Python in the forked process, and for what is
// rare: another kind of request, a look at memory every 25 ms, the wall clock, scratch folders that are not empty.
//
// The host holds pipes and wall clock, counts the output, and says when to stop. One thread, Python's.
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Of Python's stable ABI; the interpreter that loads this has them.
typedef struct _object PyObject;
extern void PyOS_BeforeFork(void);
extern void PyOS_AfterFork_Parent(void);
extern void PyOS_AfterFork_Child(void);
extern PyObject* PyBytes_FromStringAndSize(const char* text, ssize_t length);
extern PyObject* PyLong_FromLong(long number);
extern PyObject* PyUnicode_DecodeUTF8(const char* text, ssize_t length, const char* errors);

enum { kDescriptorsMax = 3, kFoldersMax = 2, kLimitsMax = 16, kChannel = 3 };
enum { kWatchMs = 25, kFrameBytesMax = 256 << 20, kHeadBytes = 9 };

// What step() asks of Python; an answer is a number.
enum Question { kLook = 1, kWaited = 2, kClean = 3 };

// The host's frames: 'A', number, source, with the answer's channel, stdout and stderr; 'S', number, reason ends it.
static const char kAnswerMark = 'A', kStopMark = 'S';

static struct {
  int control;
  int ruleset;  // Landlock's, for the forked process; -1 in a PID namespace
  uid_t user;
  struct rlimit limits[kLimitsMax];
  int limited[kLimitsMax], limit_count;
  const char* folders[kFoldersMax];
  struct stat empty[kFoldersMax];
  int folder_count;
  struct sigaction interrupt, child_ended;
  sigset_t mask;  // outside of this loop
} host;

static struct {
  char* text;
  size_t length, room;
} frame;

// Python reads these after a frame that is not ours.
int quench_descriptors[kDescriptorsMax], quench_descriptor_count;

static struct {
  uint64_t number;
  pid_t pid;
  int is_running;
  int64_t started_ns, look_ns;
  int status;      // of its main process
  int has_status;
  int is_violation;
  int64_t cpu_us;
  char reason[16];
  long waited_ms;
} run;

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static void on_child(int number) { (void)number; }

static void enter_loop(void) {
  malloc_trim(0);  // what starting left free would be copied with the rest
  struct sigaction wake = {.sa_handler = on_child};
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigaction(SIGCHLD, &wake, &host.child_ended);
  sigprocmask(SIG_BLOCK, &child, &host.mask);
}

static void leave_loop(void) {
  sigaction(SIGCHLD, &host.child_ended, NULL);
  sigprocmask(SIG_SETMASK, &host.mask, NULL);
}

// `folders` (kept by the caller) are empty, and must be so again after each answer.
int quench_start(int control, int ruleset, const char* const* folders, int count) {
  if (count > kFoldersMax) return -1;
  host.control = control;
  host.ruleset = ruleset;
  for (int i = 0; i < count; ++i) {
    host.folders[i] = folders[i];
    if (stat(folders[i], &host.empty[i]) != 0) return -1;
  }
  host.folder_count = count;
  // Python's own handler would let an answer interrupt PID 1, which ignores what it does not handle; answers get it back.
  const struct sigaction by_default = {.sa_handler = SIG_DFL};
  return sigaction(SIGINT, &by_default, &host.interrupt);
}

int quench_limit(int what, uint64_t soft, uint64_t hard) {
  if (host.limit_count == kLimitsMax) return -1;
  host.limited[host.limit_count] = what;
  host.limits[host.limit_count++] = (struct rlimit){soft, hard};
  return 0;
}

static void close_descriptors(void) {
  for (int i = 0; i < quench_descriptor_count; ++i) close(quench_descriptors[i]);
  quench_descriptor_count = 0;
}

// Bytes of the control socket; the end of it is the host's, and the whole namespace ends with PID 1.
static size_t take(char* to, size_t count) {
  struct iovec part = {to, count};
  union {
    char bytes[CMSG_SPACE(kDescriptorsMax * sizeof(int))];
    struct cmsghdr header;
  } ancillary;
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof ancillary};
  ssize_t got;
  do {
    got = recvmsg(host.control, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) _exit(0);
  for (struct cmsghdr* entry = CMSG_FIRSTHDR(&message); entry != NULL; entry = CMSG_NXTHDR(&message, entry)) {
    if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_RIGHTS) continue;
    close_descriptors();
    quench_descriptor_count = (int)((entry->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(quench_descriptors, CMSG_DATA(entry), (size_t)quench_descriptor_count * sizeof(int));
  }
  return (size_t)got;
}

static void take_exactly(char* to, size_t count) {
  while (count > 0) {
    const size_t got = take(to, count);
    to += got;
    count -= got;
  }
}

static void receive(void) {
  unsigned char head[4];
  take_exactly((char*)head, sizeof head);
  frame.length = head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24;
  if (frame.length > kFrameBytesMax) _exit(1);
  if (frame.length > frame.room) {
    free(frame.text);
    frame.room = frame.length < 1 << 14 ? 1 << 14 : frame.length;
    if ((frame.text = malloc(frame.room)) == NULL) _exit(1);
  }
  take_exactly(frame.text, frame.length);
}

static int is_frame(char mark) { return frame.length >= kHeadBytes && frame.text[0] == mark; }

static uint64_t number_of_frame(void) {
  uint64_t number = 0;
  for (int i = 8; i > 0; --i) number = number << 8 | (unsigned char)frame.text[i];
  return number;
}

static void send_reply(int is_clean) {
  char reply[512];
  const int ended_by = WIFSIGNALED(run.status) ? WTERMSIG(run.status) : 0;
  if (strcmp(run.reason, "stopped") == 0 && ended_by != SIGKILL) run.reason[0] = '\0';  // the same, a moment later
  char exit_code[16] = "null", signal_number[16] = "null";
  snprintf(ended_by ? signal_number : exit_code, 16, "%d", ended_by ? ended_by : WEXITSTATUS(run.status));
  const char* quote = run.reason[0] ? "\"" : "";
  const int length =
      snprintf(reply + 4, sizeof reply - 4,
               "{\"id\":%llu,\"reason\":%s%s%s,\"exit_code\":%s,\"signal\":%s,\"violation\":%s,\"status\":\"\",\"stderr_tail\":\"\","
               "\"cpu_ms\":%lld,\"wall_ms\":%lld,\"waited_ms\":%ld,\"dirty\":%s}",
               (unsigned long long)run.number, quote, run.reason[0] ? run.reason : "null", quote, exit_code, signal_number,
               run.is_violation ? "true" : "false", (long long)(run.cpu_us / 1000),
               (long long)((now_ns() - run.started_ns) / 1000000), run.waited_ms, is_clean ? "false" : "true");
  for (int i = 0; i < 4; ++i) reply[i] = (char)((unsigned)length >> (8 * i));
  const char* from = reply;
  for (size_t left = (size_t)length + 4; left > 0;) {
    const ssize_t sent = send(host.control, from, left, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) _exit(0);
    from += sent;
    left -= (size_t)sent;
  }
}

// In the forked process, before Python goes on: an innocent signal state, no descriptor but its own, its domain, its limits.
static void become_answer(void) {
  const struct sigaction by_default = {.sa_handler = SIG_DFL};
  sigaction(SIGCHLD, &by_default, NULL);
  sigaction(SIGINT, &host.interrupt, NULL);
  sigprocmask(SIG_SETMASK, &host.mask, NULL);
  setsid();
  int good = host.ruleset < 0 || syscall(446 /* landlock_restrict_self */, host.ruleset, 0) == 0;
  // Descriptors that arrive are above the control socket, whose number the channel gets.
  good = good && dup2(quench_descriptors[1], 1) == 1 && dup2(quench_descriptors[2], 2) == 2 &&
         dup2(quench_descriptors[0], kChannel) == kChannel;
  if (syscall(SYS_close_range, kChannel + 1u, ~0u, 0) != 0) {
    for (int fd = kChannel + 1; fd < 1024; ++fd) close(fd);
  }
  good = good && chdir(host.ruleset < 0 ? "/tmp" : "/") == 0;
  for (int i = 0; i < host.limit_count; ++i) good = good && setrlimit(host.limited[i], &host.limits[i]) == 0;
  if (!good) _exit(1);
  PyOS_AfterFork_Child();
}

static void start_answer(void) {
  run.number = number_of_frame();
  run.is_running = 1;
  run.has_status = run.is_violation = 0;
  run.cpu_us = 0;
  run.waited_ms = 0;
  run.reason[0] = '\0';
  run.started_ns = now_ns();
  run.look_ns = run.started_ns + kWatchMs * 1000000ll;
  PyOS_BeforeFork();
  run.pid = fork();
  if (run.pid == 0) return;
  PyOS_AfterFork_Parent();
  if (run.pid < 0) _exit(1);
  close_descriptors();
}

static int64_t microseconds(struct timeval time) { return time.tv_sec * 1000000ll + time.tv_usec; }

// One process that has ended, if there is one: its number, 0 when none has, -1 when there is none at all.
static pid_t reap(pid_t which, int options) {
  int status;
  struct rusage usage;
  pid_t pid;
  do {
    pid = wait4(which, &status, options | __WALL, &usage);
  } while (pid < 0 && errno == EINTR);
  if (pid <= 0) return pid;
  run.cpu_us += microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) run.is_violation = 1;
  if (pid == run.pid) {
    run.status = status;
    run.has_status = 1;
  }
  return pid;
}

// No process of the answer is left after it.
static void end_processes(void) {
  if (host.ruleset < 0) {
    // In a PID namespace whatever its main process leaves behind comes to PID 1: without children PID 1 is alone.
    if (!run.has_status) {
      kill(run.pid, SIGKILL);
      reap(run.pid, 0);
    }
    if (reap(-1, WNOHANG) < 0) return;
  }
  // One call reaches every process of the namespace but PID 1, and a fork in progress cannot slip past it.
  kill(-1, SIGKILL);
  while (reap(-1, 0) > 0) {
  }
}

// A tmpfs counts its entries in the folder's size (quick.py has checked that).
static int are_folders_empty(void) {
  for (int i = 0; i < host.folder_count; ++i) {
    struct stat now;
    if (stat(host.folders[i], &now) != 0 || now.st_size != host.empty[i].st_size || now.st_mode != host.empty[i].st_mode) return 0;
  }
  return 1;
}

// Until the answer's main process has ended or must (0), or something is to be asked.
static int watch(void) {
  while (1) {
    const int64_t left_ns = run.look_ns - now_ns();
    if (left_ns <= 0) {
      run.look_ns += kWatchMs * 1000000ll;
      return kLook;
    }
    struct pollfd entry = {host.control, POLLIN, 0};
    const struct timespec timeout = {0, left_ns};
    const int ready = ppoll(&entry, 1, &timeout, &host.mask);
    if (ready < 0 && reap(run.pid, WNOHANG) > 0) return 0;
    if (ready <= 0) continue;
    receive();
    if (!is_frame(kStopMark) || number_of_frame() != run.number) continue;
    if (reap(run.pid, WNOHANG) > 0) return 0;  // it had ended by itself before the word came
    const size_t length = frame.length - kHeadBytes;
    if (length == 0 || length >= sizeof run.reason) continue;
    memcpy(run.reason, frame.text + kHeadBytes, length);
    run.reason[length] = '\0';
    return strcmp(run.reason, "timed_out") == 0 ? kWaited : 0;
  }
}

static void finish(int is_clean) {
  send_reply(is_clean);
  run.is_running = 0;
}

// Goes on with what Python found: kLook, whether the answer uses too much memory; kWaited, how long it stood in line for a core, in
// ms; kClean, whether the folders are empty again; 0 the first time and after a frame that was not ours. Returns a number, the next
// question; bytes, a frame that is not ours, with its descriptors; in the forked process text, the answer's source.
PyObject* quench_step(long found) {
  static int asked;
  if (asked == 0) enter_loop();
  int must_end = asked == kWaited || (asked == kLook && found);
  if (asked == kLook && found) strcpy(run.reason, "out_of_memory");
  if (asked == kWaited) run.waited_ms = found;
  if (asked == kClean) finish(found != 0);
  asked = 0;
  while (1) {
    if (!run.is_running) {
      receive();
      if (is_frame(kStopMark)) continue;  // for one that has ended by itself
      if (!is_frame(kAnswerMark) || quench_descriptor_count != kDescriptorsMax) {
        leave_loop();
        return PyBytes_FromStringAndSize(frame.text, (ssize_t)frame.length);
      }
      start_answer();
      if (run.pid == 0) {
        become_answer();
        return PyUnicode_DecodeUTF8(frame.text + kHeadBytes, (ssize_t)(frame.length - kHeadBytes), "replace");
      }
    }
    if (!must_end && (asked = watch()) != 0) return PyLong_FromLong(asked);
    must_end = 0;
    end_processes();
    if (!are_folders_empty()) return PyLong_FromLong(asked = kClean);
    finish(1);
  }
}
