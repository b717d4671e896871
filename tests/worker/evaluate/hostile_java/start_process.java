// expect: sandbox_violation
// Another process is under no security manager.
class Problem {
    static long twice(long x) {
        try {
            return new ProcessBuilder("/usr/bin/sh", "-c", "exit 0").start().waitFor();
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
