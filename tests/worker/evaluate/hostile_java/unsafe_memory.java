// expect: sandbox_violation
// Unsafe reads and writes any address.
import java.lang.reflect.Field;

class Problem {
    static long twice(long x) {
        try {
            Class<?> type = Class.forName("sun.misc.Unsafe");
            Field field = type.getDeclaredField("theUnsafe");
            field.setAccessible(true);
            return field.get(null).hashCode();
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
