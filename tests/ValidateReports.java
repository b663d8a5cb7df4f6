import com.pixelmed.dicom.AttributeList;
import com.pixelmed.validate.DicomSRValidator;

/** PixelMed's SR validator over several files: its own command takes one, and building its tables takes seconds. */
public class ValidateReports {
    public static void main(String[] paths) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        for (String path : paths) {
            AttributeList list = new AttributeList();
            list.read(path);
            System.out.println("== " + path);
            System.out.println(validator.validate(list));
        }
    }
}
