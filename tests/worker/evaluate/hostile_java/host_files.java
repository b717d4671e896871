// expect: sandbox_violation
// Reads outside of /tmp.
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

class Problem {
    static long twice(long x) {
        try {
            return Files.readAllBytes(Path.of("/tmp/../proc/1/environ")).length;
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
