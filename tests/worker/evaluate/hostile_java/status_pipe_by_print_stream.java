// expect: sandbox_violation
// The plainest class that opens a file by its name.
import java.io.IOException;
import java.io.PrintStream;

class Problem {
    static long twice(long x) {
        try (PrintStream status = new PrintStream("/proc/self/fd/4")) {
            status.print("passed");
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
