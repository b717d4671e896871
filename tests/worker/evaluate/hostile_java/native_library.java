// expect: sandbox_violation
// Native code is above every rule of Java.
import java.io.FileOutputStream;
import java.io.IOException;

class Problem {
    static long twice(long x) {
        try (FileOutputStream file = new FileOutputStream("/tmp/evil.so")) {
            file.write(new byte[] {0x7f, 'E', 'L', 'F'});
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
        System.load("/tmp/evil.so");
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
