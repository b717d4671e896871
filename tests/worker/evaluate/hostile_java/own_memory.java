// expect: sandbox_violation
// The nonce is somewhere in the process.
import java.io.IOException;
import java.io.RandomAccessFile;

class Problem {
    static long twice(long x) {
        try (RandomAccessFile memory = new RandomAccessFile("/proc/self/mem", "r")) {
            return memory.read();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
