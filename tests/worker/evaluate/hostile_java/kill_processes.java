// expect: sandbox_violation
// PID 1 serves the next program.
class Problem {
    static long twice(long x) {
        ProcessHandle.allProcesses().forEach(ProcessHandle::destroyForcibly);
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
