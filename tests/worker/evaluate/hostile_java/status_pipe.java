// expect: sandbox_violation
// Writes where the verdict is read.
import java.io.FileOutputStream;
import java.io.IOException;

class Problem {
    static long twice(long x) {
        try (FileOutputStream status = new FileOutputStream("/proc/self/fd/4")) {
            status.write("passed".getBytes());
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
